/** What happened to the declaration, newest first. */

import { instantLabel, monthLabel, parseMonth } from "../client/index.ts";

import { type Child, h } from "./dom.ts";
import { actorLabel } from "./labels.ts";
import { change } from "./origin.ts";
import type { Session } from "./session.ts";

const SHOWN = 6;

export function historyView(session: Session): Child[] {
  const events = [...session.timeline]
    .reverse()
    .map((event) =>
      h(
        "li",
        {},
        h("span", { class: "when" }, event.at ? instantLabel(event.at) : ""),
        h(
          "span",
          {},
          h("strong", {}, event.messageFr),
          ` — ${actorLabel(event.actor)}`,
          event.lineId && h("span", { class: "quiet" }, `, ${lineLabel(session, event.lineId)}`),
          change(event.beforeCents, event.afterCents),
        ),
      ),
    );
  if (events.length === 0) return [h("p", { class: "quiet" }, "Rien n'est encore arrivé à cette déclaration.")];
  return [
    h(
      "div",
      { class: "card" },
      h("ol", { class: "events", reversed: true }, ...events.slice(0, SHOWN)),
      events.length > SHOWN &&
        h(
          "details",
          { id: "historique-suite" },
          h("summary", {}, `Les ${events.length - SHOWN} événements précédents`),
          h("ol", { class: "events", reversed: true }, ...events.slice(SHOWN)),
        ),
    ),
  ];
}

/** `Zoé/2026-07/SALAIRE` in words. */
function lineLabel(session: Session, lineId: string): string {
  const [personne = "", month = ""] = lineId.split("/");
  const found = parseMonth(month);
  const label = session.line(lineId)?.labelFr.toLowerCase();
  return [personne, label, found && monthLabel(found)].filter(Boolean).join(", ");
}
