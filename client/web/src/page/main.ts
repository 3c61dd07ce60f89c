/** The reference page: one declaration from sign-in to the explained payments. */

import { monthLabel } from "../client/index.ts";
import { DeclarationView } from "./declaration.ts";
import { announce, h, show } from "./dom.ts";
import { paymentsView } from "./entitlements.ts";
import { historyView } from "./history.ts";
import { alertBar, overview } from "./overview.ts";
import type { Session } from "./session.ts";
import { signIn } from "./signin.ts";
import { SubmitView } from "./submit.ts";
import { WhatIfView } from "./whatif.ts";

const main = document.getElementById("contenu")!;
const bar = document.getElementById("session")!;

start();

function start(): void {
  show(bar);
  void signIn(main, open);
}

function open(session: Session): void {
  show(
    bar,
    h("span", {}, `Foyer ${session.numeroAllocataire}`),
    h("button", { type: "button", id: "changer", onclick: () => (session.close(), start()) }, "Changer de foyer"),
  );
  const parts = {
    alert: h("div", { class: "alert" }),
    overview: h("div"),
    lines: h("div"),
    submit: h("div"),
    payments: h("div"),
    history: h("div"),
  };
  const whatIf = new WhatIfView(session);
  const lines = new DeclarationView(session, parts.lines);
  const submit = new SubmitView(session, parts.submit);
  show(
    main,
    parts.alert,
    parts.overview,
    section("lignes", "Les ressources du foyer", parts.lines),
    section("valider", "Valider", parts.submit),
    section("droits", "Les trois prochains versements", parts.payments),
    section("et-si", "Et si mon salaire était…", whatIf.element),
    section("historique", "Historique de la déclaration", parts.history),
  );

  const draw = () => {
    show(parts.alert, ...alertBar(session));
    show(parts.overview, ...overview(session, (lineId) => lines.reveal(lineId)));
    lines.draw();
    submit.draw();
    show(parts.payments, ...paymentsView(session));
    show(parts.history, ...historyView(session));
    whatIf.follow();
  };
  session.addEventListener("change", draw);
  session.addEventListener("corrected", () => {
    const last = session.notices.at(-1);
    if (last) announce(`Un payeur vient de corriger un montant. ${last.text}`);
  });
  draw();
  document.title = `Déclaration de ${monthLabel(session.moisDeclaration)} — foyer ${session.numeroAllocataire}`;
  document.getElementById("titre")?.focus();
}

function section(id: string, title: string, ...content: Node[]): HTMLElement {
  return h(
    "section",
    { id, class: "part", "aria-labelledby": `${id}-titre` },
    h("h2", { id: `${id}-titre`, tabindex: "-1" }, title),
    ...content,
  );
}
