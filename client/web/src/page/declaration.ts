/** Three months × persons: each amount with where it comes from, and what one may do about it. */

import {
  dayLabel,
  type DeclarationLine,
  formatEuros,
  formatMonth,
  instantLabel,
  LineStatus,
  type Month,
  monthLabel,
  type NatureRessource,
  parseEuros,
  parseMonth,
  type PersonPrefill,
  SolidariteError,
  ErrorReason,
} from "../client/index.ts";
import { announce, type Child, h, idOf, show } from "./dom.ts";
import { field, focusFirstError, problem } from "./field.ts";
import { actorLabel, ADDABLE, payerLabel, recordLabel, STATUSES } from "./labels.ts";
import { isOpen } from "./overview.ts";
import type { Change, Session } from "./session.ts";

/** What is being typed, kept while the page is drawn again. */
interface Draft {
  amount: string;
  justification: string;
  month: string;
  nature: string;
  errors: { amount?: string; justification?: string; month?: string; nature?: string; form?: string };
}

const newDraft = (): Draft => ({ amount: "", justification: "", month: "", nature: "", errors: {} });
const RECTIFIABLE = [LineStatus.PREREMPLI, LineStatus.CONFIRME, LineStatus.RECTIFIE];

export class DeclarationView {
  private opened: string | undefined;
  private rectifying = false;
  private adding: string | undefined;
  private draft = newDraft();

  constructor(
    private readonly session: Session,
    private readonly container: HTMLElement,
  ) {}

  draw(): void {
    const { persons, lines } = this.session.declaration;
    const named = new Set(lines.map((line) => line.personne));
    const others = persons.filter((person) => !named.has(person.personne));
    show(
      this.container,
      ...persons.filter((person) => named.has(person.personne)).map((person) => this.person(person)),
      others.length > 0 && this.others(others),
    );
  }

  /** Unfold a line and go to it. */
  reveal(lineId: string): void {
    this.opened = lineId;
    this.rectifying = false;
    this.draft = newDraft();
    this.draw();
    document.getElementById(cellId(lineId))?.focus();
  }

  private person(person: PersonPrefill): HTMLElement {
    const id = idOf("personne", person.personne);
    return h(
      "article",
      { class: "card", "aria-labelledby": id },
      h("h3", { id }, person.personne),
      !person.prefilled && h("p", { class: "quiet" }, person.messageFr),
      this.table(person.personne),
      this.addition(person.personne),
    );
  }

  /** Members of whom nothing is known nor asked: children, most often. */
  private others(persons: readonly PersonPrefill[]): HTMLElement {
    return h(
      "article",
      { class: "card", "aria-labelledby": "autres-membres" },
      h("h3", { id: "autres-membres" }, "Autres membres du foyer"),
      h(
        "ul",
        { class: "others" },
        ...persons.map((person) =>
          h(
            "li",
            {},
            h("p", {}, h("strong", {}, person.personne), " ", h("span", { class: "quiet" }, person.messageFr || "Aucune ressource n'a été transmise.")),
            this.addition(person.personne),
          ),
        ),
      ),
    );
  }

  private table(personne: string): HTMLElement {
    const months = this.session.declaration.moisReference;
    const lines = this.session.declaration.lines.filter((line) => line.personne === personne);
    const natures = new Map(lines.map((line) => [line.nature, line.labelFr]));
    return h(
      "table",
      { class: "lines" },
      h("caption", { class: "sr" }, `Ressources de ${personne} par mois ; chaque montant se déplie.`),
      h("thead", {}, h("tr", {}, ...months.map((one) => h("th", { scope: "col", id: columnId(personne, one) }, monthLabel(one))))),
      ...[...natures].sort(([a], [b]) => a - b).map(([nature, label]) => this.nature(personne, nature, label, lines)),
    );
  }

  private nature(personne: string, nature: NatureRessource, label: string, lines: DeclarationLine[]): HTMLElement {
    const months = this.session.declaration.moisReference;
    const header = idOf("nature", personne, nature);
    const cells = months.map((one) => ({
      month: one,
      line: lines.find((line) => line.nature === nature && formatMonth(line.mois!) === formatMonth(one)),
    }));
    const opened = cells.find(({ line }) => line?.lineId === this.opened)?.line;
    return h(
      "tbody",
      {},
      h("tr", {}, h("th", { scope: "rowgroup", colspan: 3, id: header }, label)),
      h(
        "tr",
        {},
        ...cells.map(({ month, line }) =>
          h("td", { headers: `${header} ${columnId(personne, month)}` }, line ? this.cell(line) : h("span", { class: "none" }, "—")),
        ),
      ),
      opened && h("tr", {}, h("td", { colspan: 3, headers: header, class: "detail" }, this.detail(opened))),
    );
  }

  private cell(line: DeclarationLine): HTMLElement {
    const expanded = line.lineId === this.opened;
    const corrected = this.session.corrected.has(line.lineId);
    return h(
      "button",
      {
        type: "button",
        id: cellId(line.lineId),
        class: `cell status-${line.status}${corrected ? " corrected" : ""}`,
        "aria-expanded": expanded ? "true" : "false",
        "aria-controls": expanded ? detailId(line.lineId) : undefined,
        onclick: () => this.toggle(line.lineId),
      },
      h("span", { class: "amount" }, line.status === LineStatus.A_DECLARER ? "Ajouter" : formatEuros(line.montantRetenuCents)),
      h("span", { class: "status" }, STATUSES[line.status]),
      corrected && h("span", { class: "status" }, "corrigé à l'instant"),
    );
  }

  private toggle(lineId: string): void {
    this.opened = this.opened === lineId ? undefined : lineId;
    this.rectifying = false;
    this.draft = newDraft();
    this.draw();
  }

  private detail(line: DeclarationLine): HTMLElement {
    return h(
      "div",
      { id: detailId(line.lineId) },
      h("h4", {}, `${line.labelFr}, ${monthLabel(line.mois!)}`),
      line.status !== LineStatus.A_DECLARER && amounts(line),
      origin(line),
      received(this.session, line),
      isOpen(this.session.declaration.state) && this.actions(line),
    );
  }

  private actions(line: DeclarationLine): HTMLElement | false {
    const { lineId, status } = line;
    if (status === LineStatus.A_DECLARER) return this.fillForm(line);
    if (status === LineStatus.AJOUTE) {
      const remove = () => void this.change({ case: "removedLineId", value: lineId }, "Ligne retirée.");
      return h("div", { class: "actions" }, problem(this.draft.errors.form), h("button", { type: "button", id: idOf("retirer", lineId), onclick: remove }, "Retirer cette ligne"));
    }
    if (!RECTIFIABLE.includes(status)) return false;
    if (this.rectifying) return this.rectifyForm(line);
    const confirm = () => void this.change({ case: "confirmation", value: { lineIds: [lineId] } }, "Ligne confirmée.");
    const rectify = () => ((this.rectifying = true), this.draw(), document.getElementById("montant")?.focus());
    return h(
      "div",
      { class: "actions" },
      problem(this.draft.errors.form),
      status !== LineStatus.CONFIRME && h("button", { type: "button", id: idOf("confirmer", lineId), onclick: confirm }, "Confirmer ce montant"),
      h("button", { type: "button", id: idOf("rectifier", lineId), onclick: rectify }, "Rectifier"),
    );
  }

  private rectifyForm(line: DeclarationLine): HTMLElement {
    const { draft } = this;
    const submit = (event: Event) => {
      event.preventDefault();
      const cents = this.readAmount();
      if (cents === undefined) return;
      void this.change(
        {
          case: "rectification",
          value: { lineId: line.lineId, montantDeclareCents: cents, justificationReference: draft.justification.trim() },
        },
        "Ligne rectifiée : elle sera vérifiée après la validation.",
      );
    };
    return h(
      "form",
      { class: "inline", novalidate: true, onsubmit: submit, "aria-label": `Rectifier ${line.labelFr}, ${monthLabel(line.mois!)}` },
      problem(draft.errors.form),
      this.amountField("Montant net social exact"),
      field({
        id: "justification",
        label: "Pièce justificative",
        hint: "Sa référence, par exemple BULLETIN-2026-07",
        value: draft.justification,
        error: draft.errors.justification,
        attributes: { required: true, maxlength: "200" },
        onChange: (value) => (draft.justification = value),
      }),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: "primary" }, "Enregistrer la rectification"),
        h("button", { type: "button", onclick: () => ((this.rectifying = false), (this.draft = newDraft()), this.draw(), document.getElementById(cellId(line.lineId))?.focus()) }, "Annuler"),
      ),
    );
  }

  private fillForm(line: DeclarationLine): HTMLElement {
    const submit = (event: Event) => {
      event.preventDefault();
      const cents = this.readAmount();
      if (cents === undefined) return;
      const { personne, mois, nature } = line;
      void this.change({ case: "addition", value: { personne, mois: mois!, nature, montantDeclareCents: cents } }, "Ligne ajoutée.");
    };
    return h(
      "form",
      { class: "inline", novalidate: true, onsubmit: submit, "aria-label": `Déclarer ${line.labelFr}, ${monthLabel(line.mois!)}` },
      problem(this.draft.errors.form),
      this.amountField("Montant reçu"),
      h("div", { class: "actions" }, h("button", { type: "submit", class: "primary" }, "Déclarer ce montant")),
    );
  }

  private addition(personne: string): HTMLElement | false {
    const { draft } = this;
    if (!isOpen(this.session.declaration.state)) return false;
    if (this.adding !== personne) {
      const add = () => ((this.adding = personne), (this.opened = undefined), (this.draft = newDraft()), this.draw(), document.getElementById("nature")?.focus());
      return h("button", { type: "button", class: "quiet-button", id: idOf("ajouter", personne), onclick: add }, "Ajouter une ressource ", h("span", { class: "sr" }, `de ${personne}`));
    }
    const months = this.session.declaration.moisReference;
    draft.month ||= formatMonth(months[0]!);
    draft.nature ||= String(ADDABLE[0]![0]);
    const submit = (event: Event) => {
      event.preventDefault();
      const cents = this.readAmount();
      if (cents === undefined) return;
      void this.change(
        { case: "addition", value: { personne, mois: parseMonth(draft.month)!, nature: Number(draft.nature) as NatureRessource, montantDeclareCents: cents } },
        "Ressource ajoutée.",
      );
    };
    return h(
      "form",
      { class: "inline framed", novalidate: true, onsubmit: submit, "aria-label": `Ajouter une ressource de ${personne}` },
      problem(draft.errors.form),
      field({
        id: "nature",
        label: "Ressource",
        value: draft.nature,
        error: draft.errors.nature,
        choices: ADDABLE.map(([value, label]) => ({ value: String(value), label })),
        onChange: (value) => (draft.nature = value),
      }),
      field({
        id: "mois-ajout",
        label: "Mois",
        value: draft.month,
        error: draft.errors.month,
        choices: months.map((one) => ({ value: formatMonth(one), label: monthLabel(one) })),
        onChange: (value) => (draft.month = value),
      }),
      this.amountField("Montant reçu"),
      h(
        "div",
        { class: "actions" },
        h("button", { type: "submit", class: "primary" }, "Ajouter"),
        h("button", { type: "button", onclick: () => ((this.adding = undefined), this.draw(), document.getElementById(idOf("ajouter", personne))?.focus()) }, "Annuler"),
      ),
    );
  }

  private amountField(label: string): HTMLElement {
    const { draft } = this;
    return field({
      id: "montant",
      label,
      hint: "En euros, par exemple 912,40",
      value: draft.amount,
      error: draft.errors.amount,
      attributes: { required: true, inputmode: "decimal", maxlength: "14" },
      onChange: (value) => (draft.amount = value),
    });
  }

  private readAmount(): bigint | undefined {
    const cents = parseEuros(this.draft.amount);
    if (cents === undefined) {
      this.draft.errors = { amount: "Écrivez un montant en euros, positif ou nul, par exemple 912,40." };
      this.drawErrors();
    }
    return cents;
  }

  /** Ask for a change; what is refused is shown on the field at fault, and what was typed stays. */
  private async change(change: Change, done: string): Promise<void> {
    try {
      await this.session.amend(change);
    } catch (thrown) {
      const error = SolidariteError.from(thrown);
      if (error.reason === ErrorReason.ETAG_STALE) await this.session.refresh();
      this.draft.errors = fieldErrors(error);
      this.drawErrors();
      return;
    }
    this.rectifying = false;
    this.adding = undefined;
    this.draft = newDraft();
    this.draw();
    announce(done);
    if (document.activeElement === document.body) this.focusOpened();
  }

  private drawErrors(): void {
    this.draw();
    focusFirstError(this.container);
  }

  private focusOpened(): void {
    const target = (this.opened && document.getElementById(cellId(this.opened))) || document.getElementById("lignes-titre");
    target?.setAttribute("tabindex", target.tagName === "BUTTON" ? "0" : "-1");
    target?.focus();
  }
}

function fieldErrors(error: SolidariteError): Draft["errors"] {
  const errors: Draft["errors"] = {};
  const amount = error.fieldMessage("montant_declare_cents");
  const justification = error.fieldMessage("justification_reference");
  if (amount) errors.amount = amount;
  if (justification) errors.justification = justification;
  if (!amount && !justification) errors.form = error.messageFr;
  return errors;
}

function amounts(line: DeclarationLine): HTMLElement {
  const shown: [string, bigint | undefined][] = [
    ["Transmis par les payeurs", line.montantPrerempliCents],
    ["Déclaré par vous", line.montantDeclareCents],
    ["Retenu pour le calcul", line.montantRetenuCents],
  ];
  return h(
    "dl",
    { class: "amounts" },
    ...shown.flatMap(([label, cents]) => (cents === undefined ? [] : [h("div", {}, h("dt", {}, label), h("dd", {}, formatEuros(cents)))])),
    line.justificationReference && h("div", {}, h("dt", {}, "Pièce justificative"), h("dd", {}, line.justificationReference)),
  );
}

function origin(line: DeclarationLine): HTMLElement {
  if (line.status === LineStatus.CONNU) return h("p", {}, "La Caf verse ce montant : elle le connaît, il n'est pas à déclarer.");
  if (line.records.length === 0) return h("p", {}, "Aucun payeur n'a transmis de montant pour cette ligne.");
  return h(
    "ul",
    { class: "records", "aria-label": "D'où vient ce montant" },
    ...line.records.map((record) =>
      h(
        "li",
        {},
        h("span", { class: "amount" }, formatEuros(record.montantNetSocialCents)),
        h(
          "span",
          {},
          h("strong", {}, payerLabel(record.declarant)),
          record.numeroContrat && `, contrat ${record.numeroContrat}`,
          h("br"),
          record.dateVersement && `Versé le ${dayLabel(record.dateVersement)}. `,
          record.knownAt && `Connu le ${instantLabel(record.knownAt)} (${recordLabel(record)}).`,
        ),
      ),
    ),
  );
}

/** Everything received and done about one line: corrections are seen with what they replaced. */
function received(session: Session, line: DeclarationLine): HTMLElement | false {
  const events = session.timeline.filter((event) => event.lineId === line.lineId);
  return (
    events.length > 1 &&
    h(
      "details",
      { id: idOf("suivi", line.lineId) },
      h("summary", {}, `Tout ce qui est arrivé à cette ligne (${events.length})`),
      h(
        "ol",
        { class: "events" },
        ...events.map((event) =>
          h("li", {}, event.at && `${instantLabel(event.at)} : `, event.messageFr, ` (${actorLabel(event.actor)})`, change(event.beforeCents, event.afterCents)),
        ),
      ),
    )
  );
}

/** « avant → après », or the one amount there is. */
export function change(before: bigint | undefined, after: bigint | undefined): Child {
  const shown = [...new Set([before, after].filter((cents) => cents !== undefined))].map(formatEuros);
  return shown.length > 0 && h("span", { class: "amount" }, ` ${shown.join(" → ")}`);
}

const cellId = (lineId: string) => idOf("ligne", lineId);
const detailId = (lineId: string) => idOf("detail", lineId);
const columnId = (personne: string, month: Month) => idOf("colonne", personne, formatMonth(month));
