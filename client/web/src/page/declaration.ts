/** Three months × persons: each amount with where it comes from, and what one may do about it. */

import {
  type DeclarationLine,
  ErrorReason,
  formatEuros,
  formatMonth,
  LineStatus,
  type Month,
  monthLabel,
  type NatureRessource,
  parseEuros,
  parseMonth,
  type PersonPrefill,
  SolidariteError,
} from "../client/index.ts";
import { announce, type Child, h, idOf, show } from "./dom.ts";
import { field, focusFirstError, problem } from "./field.ts";
import { ADDABLE, STATUSES } from "./labels.ts";
import { amounts, origin, received } from "./origin.ts";
import { isOpen } from "./overview.ts";
import type { Change, Session } from "./session.ts";

/** What is being typed, kept while the page is drawn again. */
interface Draft {
  amount: string;
  justification: string;
  month: string;
  nature: string;
  errors: { amount?: string | undefined; justification?: string | undefined; form?: string };
}

const newDraft = (): Draft => ({ amount: "", justification: "", month: "", nature: "", errors: {} });
const CONFIRMABLE = [LineStatus.PREREMPLI, LineStatus.RECTIFIE];
const RECTIFIABLE = [LineStatus.PREREMPLI, LineStatus.CONFIRME, LineStatus.RECTIFIE];

/** What is unfolded: a line, its rectification, or the addition of a resource to a person. One thing at a time. */
interface Doing {
  readonly lineId?: string;
  readonly rectifying?: boolean;
  readonly addingTo?: string;
}

export class DeclarationView {
  private doing: Doing = {};
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
    this.turnTo({ lineId }, cellId(lineId));
  }

  private turnTo(doing: Doing, focused?: string): void {
    this.doing = doing;
    this.draft = newDraft();
    this.draw();
    if (focused) document.getElementById(focused)?.focus();
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
            h(
              "p",
              {},
              h("strong", {}, person.personne),
              " ",
              h("span", { class: "quiet" }, person.messageFr || "Aucune ressource n'a été transmise."),
            ),
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
      h(
        "thead",
        {},
        h("tr", {}, ...months.map((one) => h("th", { scope: "col", id: columnId(personne, one) }, monthLabel(one)))),
      ),
      ...[...natures].sort(([a], [b]) => a - b).map(([nature, label]) => this.nature(personne, nature, label, lines)),
    );
  }

  private nature(personne: string, nature: NatureRessource, label: string, lines: DeclarationLine[]): HTMLElement {
    const months = this.session.declaration.moisReference;
    const header = idOf("nature", personne, nature);
    const cells = months.map((one) => ({
      month: one,
      line: lines.find((line) => line.nature === nature && sameMonth(line.mois, one)),
    }));
    const opened = cells.find(({ line }) => line?.lineId === this.doing.lineId)?.line;
    return h(
      "tbody",
      {},
      h("tr", {}, h("th", { scope: "rowgroup", colspan: 3, id: header }, label)),
      h(
        "tr",
        {},
        ...cells.map(({ month, line }) =>
          h(
            "td",
            { headers: `${header} ${columnId(personne, month)}` },
            line ? this.cell(line) : h("span", { class: "none" }, "—"),
          ),
        ),
      ),
      opened && h("tr", {}, h("td", { colspan: 3, headers: header, class: "detail" }, this.detail(opened))),
    );
  }

  private cell(line: DeclarationLine): HTMLElement {
    const { lineId, status } = line;
    const expanded = lineId === this.doing.lineId;
    const corrected = this.session.corrected.has(lineId);
    return h(
      "button",
      {
        type: "button",
        id: cellId(lineId),
        class: `cell status-${status}${corrected ? " corrected" : ""}`,
        "aria-expanded": expanded ? "true" : "false",
        "aria-controls": expanded ? detailId(lineId) : undefined,
        onclick: () => this.turnTo(expanded ? {} : { lineId }),
      },
      h(
        "span",
        { class: "amount" },
        status === LineStatus.A_DECLARER ? "Ajouter" : formatEuros(line.montantRetenuCents),
      ),
      h("span", { class: "status" }, STATUSES[status]),
      corrected && h("span", { class: "status" }, "corrigé à l'instant"),
    );
  }

  private detail(line: DeclarationLine): HTMLElement {
    return h(
      "div",
      { id: detailId(line.lineId) },
      h("h4", {}, lineTitle(line)),
      line.status !== LineStatus.A_DECLARER && amounts(line),
      origin(line),
      received(this.session, line),
      isOpen(this.session.declaration.state) && this.actions(line),
    );
  }

  private actions(line: DeclarationLine): HTMLElement | false {
    const { lineId, status } = line;
    if (status === LineStatus.A_DECLARER) return this.fillForm(line);
    if (this.doing.rectifying) return this.rectifyForm(line);
    const confirm = () => void this.change({ case: "confirmation", value: { lineIds: [lineId] } }, "Ligne confirmée.");
    const rectify = () => this.turnTo({ lineId, rectifying: true }, "montant");
    const remove = () => void this.change({ case: "removedLineId", value: lineId }, "Ligne retirée.");
    const offered = [
      CONFIRMABLE.includes(status) && button("confirmer", lineId, "Confirmer ce montant", confirm),
      RECTIFIABLE.includes(status) && button("rectifier", lineId, "Rectifier", rectify),
      status === LineStatus.AJOUTE && button("retirer", lineId, "Retirer cette ligne", remove),
    ].filter(Boolean) as HTMLElement[];
    return offered.length > 0 && h("div", { class: "actions" }, problem(this.draft.errors.form), ...offered);
  }

  private rectifyForm(line: DeclarationLine): HTMLElement {
    const { draft } = this;
    const { lineId } = line;
    const rectification = (montantDeclareCents: bigint): Change => ({
      case: "rectification",
      value: { lineId, montantDeclareCents, justificationReference: draft.justification.trim() },
    });
    return this.form(
      `Rectifier ${lineTitle(line)}`,
      this.submitting(rectification, "Ligne rectifiée : elle sera vérifiée après la validation."),
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
      actions("Enregistrer la rectification", () => this.turnTo({ lineId }, cellId(lineId))),
    );
  }

  private fillForm(line: DeclarationLine): HTMLElement {
    const { personne, nature } = line;
    const addition = (montantDeclareCents: bigint): Change => ({
      case: "addition",
      value: { personne, mois: line.mois!, nature, montantDeclareCents },
    });
    return this.form(
      `Déclarer ${lineTitle(line)}`,
      this.submitting(addition, "Ligne ajoutée."),
      this.amountField("Montant reçu"),
      actions("Déclarer ce montant", () => this.turnTo({}, cellId(line.lineId))),
    );
  }

  private addition(personne: string): HTMLElement | false {
    if (!isOpen(this.session.declaration.state)) return false;
    const opener = idOf("ajouter", personne);
    if (this.doing.addingTo !== personne) {
      return h(
        "button",
        { type: "button", id: opener, onclick: () => this.turnTo({ addingTo: personne }, "nature") },
        "Ajouter une ressource ",
        h("span", { class: "sr" }, `pour ${personne}`),
      );
    }
    const { draft } = this;
    const months = this.session.declaration.moisReference;
    draft.month ||= formatMonth(months[0]!);
    draft.nature ||= String(ADDABLE[0]![0]);
    const addition = (montantDeclareCents: bigint): Change => ({
      case: "addition",
      value: { personne, mois: parseMonth(draft.month)!, nature: Number(draft.nature), montantDeclareCents },
    });
    return this.form(
      `Ajouter une ressource pour ${personne}`,
      this.submitting(addition, "Ressource ajoutée."),
      field({
        id: "nature",
        label: "Ressource",
        value: draft.nature,
        choices: ADDABLE.map(([value, label]) => ({ value: String(value), label })),
        onChange: (value) => (draft.nature = value),
      }),
      field({
        id: "mois-ajout",
        label: "Mois",
        value: draft.month,
        choices: months.map((one) => ({ value: formatMonth(one), label: monthLabel(one) })),
        onChange: (value) => (draft.month = value),
      }),
      this.amountField("Montant reçu"),
      actions("Ajouter", () => this.turnTo({}, opener)),
    );
  }

  private form(name: string, onsubmit: (event: Event) => void, ...content: Child[]): HTMLElement {
    const attributes = { class: "inline", novalidate: true, onsubmit, "aria-label": name };
    return h("form", attributes, problem(this.draft.errors.form), ...content);
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

  /** What sending a form does: read the amount, then ask for the change that it makes. */
  private submitting(changeOf: (cents: bigint) => Change, done: string): (event: Event) => void {
    return (event) => {
      event.preventDefault();
      const cents = parseEuros(this.draft.amount);
      if (cents !== undefined) void this.change(changeOf(cents), done);
      else this.refused({ amount: "Écrivez un montant en euros, positif ou nul, par exemple 912,40." });
    };
  }

  /** Ask for a change; what is refused is shown on the field at fault, and what was typed stays. */
  private async change(change: Change, done: string): Promise<void> {
    try {
      await this.session.amend(change);
    } catch (thrown) {
      const error = SolidariteError.from(thrown);
      if (error.reason === ErrorReason.ETAG_STALE) await this.session.refresh();
      this.refused(fieldErrors(error));
      return;
    }
    const line = this.lineOf(change);
    this.turnTo(line ? { lineId: line.lineId } : {}, line ? cellId(line.lineId) : "lignes-titre");
    announce(done);
  }

  /** The line that a change was about, as it now is. */
  private lineOf(change: Change): DeclarationLine | undefined {
    if (change.case !== "addition") return this.session.line(this.doing.lineId ?? "");
    const { personne, mois, nature } = change.value;
    return this.session.declaration.lines.find(
      (line) => line.personne === personne && line.nature === nature && sameMonth(line.mois, mois),
    );
  }

  private refused(errors: Draft["errors"]): void {
    this.draft.errors = errors;
    this.draw();
    focusFirstError(this.container);
  }
}

function fieldErrors(error: SolidariteError): Draft["errors"] {
  const amount = error.fieldMessage("montant_declare_cents");
  const justification = error.fieldMessage("justification_reference");
  return amount || justification ? { amount, justification } : { form: error.messageFr };
}

function actions(submit: string, cancel: () => void): HTMLElement {
  return h(
    "div",
    { class: "actions" },
    h("button", { type: "submit", class: "primary" }, submit),
    h("button", { type: "button", onclick: cancel }, "Annuler"),
  );
}

function button(kind: string, lineId: string, text: string, onclick: () => void): HTMLElement {
  return h("button", { type: "button", id: idOf(kind, lineId), onclick }, text);
}

const sameMonth = (one?: Partial<Month>, other?: Partial<Month>) =>
  one?.year === other?.year && one?.month === other?.month;
const lineTitle = (line: DeclarationLine) => `${line.labelFr}, ${monthLabel(line.mois!)}`;
const cellId = (lineId: string) => idOf("ligne", lineId);
const detailId = (lineId: string) => idOf("detail", lineId);
const columnId = (personne: string, month: Month) => idOf("colonne", personne, formatMonth(month));
