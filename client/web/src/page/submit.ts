/** Confirming everything, certifying, submitting. */

import { ErrorReason, LineStatus, SolidariteError } from "../client/index.ts";
import { announce, h, show } from "./dom.ts";
import { problem } from "./field.ts";
import { STATES } from "./labels.ts";
import { isOpen } from "./overview.ts";
import type { Session } from "./session.ts";

export class SubmitView {
  private certified = false;
  private uncertified = false;
  private error: string | undefined;
  private busy = false;

  constructor(
    private readonly session: Session,
    private readonly container: HTMLElement,
  ) {}

  draw(): void {
    const { declaration } = this.session;
    if (!isOpen(declaration.state)) {
      show(
        this.container,
        h(
          "div",
          { class: "card" },
          h("p", { id: "validee" }, h("strong", {}, STATES[declaration.state]), "."),
          h(
            "p",
            {},
            "Le trimestre est figé : ces droits ne changent plus d'eux-mêmes. Une correction tardive peut donner lieu à un rappel ou à un indu, après vérification.",
          ),
        ),
      );
      return;
    }
    const untouched = declaration.lines.filter((line) => line.status === LineStatus.PREREMPLI).length;
    show(
      this.container,
      h(
        "form",
        { class: "card", novalidate: true, onsubmit: (event) => void this.submit(event) },
        problem(this.error),
        untouched > 0 &&
          h(
            "p",
            {},
            `${untouched} ${untouched > 1 ? "montants préremplis ne sont" : "montant prérempli n'est"} pas encore ${untouched > 1 ? "confirmés" : "confirmé"}. `,
            h(
              "button",
              { type: "button", id: "tout-confirmer", onclick: () => void this.confirmAll() },
              "Tout confirmer",
            ),
          ),
        this.uncertified &&
          h(
            "p",
            { class: "problem", id: "certifier-erreur", role: "alert" },
            "Cochez la case pour certifier vos ressources avant de valider.",
          ),
        h(
          "div",
          { class: "check" },
          h("input", {
            type: "checkbox",
            id: "certifier",
            checked: this.certified,
            "aria-describedby": this.uncertified ? "certifier-erreur" : undefined,
            "aria-invalid": this.uncertified ? "true" : undefined,
            onchange: (event) => (this.certified = (event.target as HTMLInputElement).checked),
          }),
          h("label", { for: "certifier" }, "Je certifie que ces ressources sont exactes et complètes."),
        ),
        h(
          "button",
          { type: "submit", class: "primary", id: "valider-bouton", disabled: this.busy },
          "Valider ma déclaration",
        ),
      ),
    );
  }

  private async confirmAll(): Promise<void> {
    await this.ask(
      () => this.session.amend({ case: "confirmation", value: {} }),
      "Les montants préremplis sont confirmés.",
    );
  }

  private async submit(event: Event): Promise<void> {
    event.preventDefault();
    this.uncertified = !this.certified;
    if (this.uncertified) {
      this.draw();
      document.getElementById("certifier")?.focus();
      return;
    }
    await this.ask(() => this.session.submit(), "Votre déclaration est validée.");
    if (!this.error) document.getElementById("titre")?.focus();
  }

  private async ask(call: () => Promise<void>, done: string): Promise<void> {
    if (this.busy) return;
    this.busy = true;
    this.error = undefined;
    try {
      await call();
      announce(done);
    } catch (thrown) {
      const error = SolidariteError.from(thrown);
      this.error = error.messageFr;
      if (error.reason === ErrorReason.ETAG_STALE) await this.session.refresh();
    } finally {
      this.busy = false;
      this.draw();
    }
  }
}
