/** Where the declaration stands, what has just arrived, and what deserves a look. */

import { dayLabel, DeclarationState, LineStatus, monthLabel } from "../client/index.ts";
import { type Child, h } from "./dom.ts";
import { STATES } from "./labels.ts";
import type { Session } from "./session.ts";

export function overview(session: Session, reveal: (lineId: string) => void): Child[] {
  const { declaration } = session;
  const months = declaration.moisReference.map(monthLabel);
  return [
    h("h1", { id: "titre", tabindex: "-1" }, `Déclaration de ${monthLabel(declaration.moisDeclaration!)}`),
    h(
      "div",
      { class: "summary" },
      h("span", { class: `state state-${declaration.state}`, id: "etat" }, STATES[declaration.state]),
      h("p", {}, `Ressources de ${months.slice(0, -1).join(", ")} et ${months.at(-1)}.`),
      isOpen(declaration.state) &&
        declaration.windowCloses &&
        h("p", { class: "quiet" }, `À valider avant le ${dayLabel(declaration.windowCloses)} inclus.`),
    ),
    notices(session, reveal),
    toCheck(session, reveal),
  ];
}

export function isOpen(state: DeclarationState): boolean {
  return state === DeclarationState.PREREMPLIE || state === DeclarationState.EN_COURS;
}

function notices(session: Session, reveal: (lineId: string) => void): HTMLElement | false {
  return (
    session.notices.length > 0 &&
    h(
      "section",
      { class: "card notice", id: "corrections", tabindex: "-1", "aria-labelledby": "corrections-titre" },
      h(
        "h2",
        { id: "corrections-titre" },
        session.notices.length > 1 ? "Des montants viennent d'être corrigés" : "Un montant vient d'être corrigé",
      ),
      h(
        "ul",
        {},
        ...session.notices.map((notice, place) =>
          h(
            "li",
            {},
            notice.text,
            " ",
            link(`correction-${place}`, "Voir cette ligne", () => reveal(notice.lineId)),
          ),
        ),
      ),
      h("p", {}, "La déclaration affichée et l'estimation des droits en tiennent déjà compte."),
      h(
        "button",
        { type: "button", onclick: () => (session.dismissNotices(), document.getElementById("titre")?.focus()) },
        "J'ai vu",
      ),
    )
  );
}

/** One line that stays in view, leading to the corrections that have just arrived. */
export function alertBar(session: Session): Child[] {
  const count = session.notices.length;
  if (count === 0) return [];
  const text =
    count > 1 ? `Des payeurs viennent de corriger ${count} montants.` : "Un payeur vient de corriger un montant.";
  const see = () => document.getElementById("corrections")?.focus();
  return [h("p", {}, text), h("button", { type: "button", id: "voir-corrections", onclick: see }, "Voir")];
}

function toCheck(session: Session, reveal: (lineId: string) => void): HTMLElement | false {
  const { declaration } = session;
  if (!isOpen(declaration.state)) return false;
  const byHand = declaration.persons.filter((person) => !person.prefilled && hasLines(session, person.personne));
  const empty = declaration.lines.filter((line) => line.status === LineStatus.A_DECLARER);
  const items = [
    ...byHand.map((person) => h("li", {}, h("strong", {}, person.personne), ` : ${person.messageFr}`)),
    ...declaration.signals.map((signal, place) =>
      h(
        "li",
        {},
        h("strong", {}, joinPlace(signal.personne, signal.mois && monthLabel(signal.mois))),
        ` : ${signal.messageFr} `,
        signal.lineId && link(`signal-${place}`, "Voir cette ligne", () => reveal(signal.lineId)),
      ),
    ),
    empty.length > 0 &&
      h(
        "li",
        {},
        `${empty.length} ${empty.length > 1 ? "cases sont à compléter" : "case est à compléter"} si vous avez reçu ces ` +
          "ressources : aucun payeur ne les transmet. Sinon, laissez-les vides.",
      ),
  ].filter(Boolean) as Node[];
  return (
    items.length > 0 &&
    h(
      "section",
      { class: "card", "aria-labelledby": "verifier-titre" },
      h("h2", { id: "verifier-titre" }, "À vérifier avant de valider"),
      h("ul", {}, ...items),
    )
  );
}

function hasLines(session: Session, personne: string): boolean {
  return session.declaration.lines.some((line) => line.personne === personne);
}

function joinPlace(...parts: (string | undefined)[]): string {
  return parts.filter(Boolean).join(", ");
}

function link(id: string, text: string, onclick: () => void): HTMLButtonElement {
  return h("button", { type: "button", class: "link", id, onclick }, text);
}
