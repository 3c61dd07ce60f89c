/** Where an amount comes from: its payers, since when it is known, everything that happened to it. */

import { dayLabel, type DeclarationLine, formatEuros, instantLabel, LineStatus } from "../client/index.ts";
import { type Child, h, idOf } from "./dom.ts";
import { actorLabel, payerLabel, recordLabel } from "./labels.ts";
import type { Session } from "./session.ts";

export function amounts(line: DeclarationLine): HTMLElement {
  const shown: [string, bigint | undefined][] = [
    ["Transmis par les payeurs", line.montantPrerempliCents],
    ["Déclaré par vous", line.montantDeclareCents],
    ["Retenu pour le calcul", line.montantRetenuCents],
  ];
  return h(
    "dl",
    { class: "amounts" },
    ...shown.flatMap(([label, cents]) =>
      cents === undefined ? [] : [h("div", {}, h("dt", {}, label), h("dd", {}, formatEuros(cents)))],
    ),
    line.justificationReference &&
      h("div", {}, h("dt", {}, "Pièce justificative"), h("dd", {}, line.justificationReference)),
  );
}

export function origin(line: DeclarationLine): HTMLElement {
  if (line.status === LineStatus.CONNU)
    return h("p", {}, "La Caf verse ce montant : elle le connaît, il n'est pas à déclarer.");
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
export function received(session: Session, line: DeclarationLine): HTMLElement | false {
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
          h(
            "li",
            {},
            event.at && `${instantLabel(event.at)} : `,
            event.messageFr,
            ` (${actorLabel(event.actor)})`,
            change(event.beforeCents, event.afterCents),
          ),
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
