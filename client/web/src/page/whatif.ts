/** “What if my pay were…”: the rights computed as one types, and their curve over a range of pays. */

import {
  Benefit,
  formatEuros,
  LineStatus,
  NatureRessource,
  type RessourceMois,
  Role,
  SolidariteError,
} from "../client/index.ts";
import { drawCurve, type Point } from "./curve.ts";
import { h, show } from "./dom.ts";
import { field, problem } from "./field.ts";
import type { Session } from "./session.ts";

const HIGHEST_EUROS = 3_000;
const STEP_EUROS = 100;
const PAUSE_MS = 80;

export class WhatIfView {
  readonly element = h("div", { class: "card whatif" });
  private readonly form = h("div");
  private readonly result = h("div", { id: "et-si-resultat", role: "status" });
  private readonly chart = h("div");
  private person: string;
  private pay: number;
  private curve: readonly Point[] = [];
  private curveOf = "";
  private asked = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly session: Session) {
    this.person = this.adults[0]?.personne ?? "";
    this.pay = this.presentPay();
    this.element.append(this.form, this.result, this.chart);
    this.drawForm();
  }

  /** The declaration changed: the other resources of the household did too. */
  follow(): void {
    this.compute();
    void this.drawChart();
  }

  private get adults() {
    return this.session.foyer.membres.filter((one) => one.role === Role.ALLOCATAIRE || one.role === Role.CONJOINT);
  }

  private drawForm(): void {
    const slider = h("input", {
      type: "range",
      id: "curseur",
      min: 0,
      max: HIGHEST_EUROS,
      step: 10,
      value: this.pay,
      "aria-label": "Salaire net social par mois, en euros",
      oninput: () => this.setPay(slider.valueAsNumber, slider),
    });
    const number = field({
      id: "salaire",
      label: "Salaire net social mensuel",
      hint: `En euros, de 0 à ${HIGHEST_EUROS}`,
      value: String(this.pay),
      // The answer, or why there is none, belongs to what is typed here.
      attributes: { inputmode: "numeric", maxlength: "5", "aria-describedby": "salaire-aide et-si-resultat" },
      onChange: (value) => this.setPay(Number(value.replace(",", ".")), null),
    });
    show(
      this.form,
      h(
        "p",
        { class: "quiet" },
        "Rien n'est enregistré : le calcul part des autres ressources de la déclaration affichée.",
      ),
      h(
        "div",
        { class: "inline" },
        this.adults.length > 1 &&
          field({
            id: "personne",
            label: "Personne",
            value: this.person,
            choices: this.adults.map((one) => ({ value: one.personne, label: one.personne })),
            onChange: (value) => {
              this.person = value;
              this.pay = this.presentPay();
              this.drawForm();
              this.follow();
            },
          }),
        number,
        slider,
      ),
    );
  }

  private setPay(value: number, from: HTMLInputElement | null): void {
    const accepted = Number.isFinite(value) && value >= 0 && value <= HIGHEST_EUROS;
    document.getElementById("salaire")?.setAttribute("aria-invalid", String(!accepted));
    if (!accepted) {
      show(this.result, problem(`Écrivez un salaire de 0 à ${HIGHEST_EUROS} €.`));
      return;
    }
    this.pay = Math.round(value);
    const other = document.getElementById(from ? "salaire" : "curseur") as HTMLInputElement | null;
    if (other) other.value = String(this.pay);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.compute(), PAUSE_MS);
  }

  /** The mean pay of the person over the three months, in euros. */
  private presentPay(): number {
    const { lines } = this.session.declaration;
    const pays = lines.filter((line) => line.personne === this.person && line.nature === NatureRessource.SALAIRE);
    const cents = pays.reduce((sum, line) => sum + line.montantRetenuCents, 0n);
    return Math.min(Math.round(Number(cents) / 300), HIGHEST_EUROS);
  }

  private compute(): void {
    const asked = ++this.asked;
    this.at(this.pay).then(
      (point) => asked === this.asked && this.drawResult(point),
      (thrown: unknown) => asked === this.asked && show(this.result, problem(SolidariteError.from(thrown).messageFr)),
    );
  }

  /** The rights of the first month with that pay. */
  private async at(euros: number): Promise<Point> {
    const { foyer, declaration, moisDeclaration, solidarite } = this.session;
    const kept = declaration.lines.filter(
      (line) =>
        line.status !== LineStatus.A_DECLARER &&
        line.status !== LineStatus.CONNU &&
        !(line.personne === this.person && line.nature === NatureRessource.SALAIRE),
    );
    const ressources = [
      ...kept.map((line) => ({
        personne: line.personne,
        mois: line.mois!,
        nature: line.nature,
        montantCents: line.montantRetenuCents,
      })),
      ...declaration.moisReference.map((mois) => ({
        personne: this.person,
        mois,
        nature: NatureRessource.SALAIRE,
        montantCents: BigInt(euros) * 100n,
      })),
    ] as RessourceMois[];
    const { months } = await solidarite.entitlements.computeEntitlements({ foyer, ressources, moisDeclaration });
    const paid = (benefit: Benefit) =>
      Number(months[0]?.benefits.find((one) => one.benefit === benefit)?.montantVerseCents ?? 0n) / 100;
    return { pay: euros, rsa: paid(Benefit.RSA), prime: paid(Benefit.PRIME_ACTIVITE) };
  }

  private drawResult(point: Point): void {
    const cents = (euros: number) => formatEuros(BigInt(Math.round(euros * 100)));
    show(
      this.result,
      h(
        "p",
        { class: "answer" },
        `Avec ${cents(point.pay)} par mois : RSA ${cents(point.rsa)}, prime d'activité ${cents(point.prime)}, soit `,
        h("strong", {}, cents(point.rsa + point.prime)),
        " par mois.",
      ),
    );
    if (this.curve.length > 0) show(this.chart, drawCurve(this.curve, point));
  }

  private async drawChart(): Promise<void> {
    const of = `${this.person}/${this.session.declaration.etag}`;
    if (of === this.curveOf) return;
    this.curveOf = of;
    const pays = Array.from({ length: HIGHEST_EUROS / STEP_EUROS + 1 }, (_, place) => place * STEP_EUROS);
    try {
      const [now, ...curve] = await Promise.all([this.at(this.pay), ...pays.map((pay) => this.at(pay))]);
      if (of !== this.curveOf) return;
      this.curve = curve;
      show(this.chart, drawCurve(curve, now));
    } catch {
      this.curveOf = ""; // the sentence above already says why
    }
  }
}
