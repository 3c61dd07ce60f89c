/** Signing in with a development token, and choosing a household. */

import { connectTo, formatMonth, month, parseMonth, SolidariteError } from "../client/index.ts";
import { h, show } from "./dom.ts";
import { field, focusFirstError, problem } from "./field.ts";
import { Session } from "./session.ts";

interface Examples {
  readonly mois_declaration: string;
  readonly foyers: readonly { readonly numero_allocataire: string; readonly membres: string; readonly jeton: string }[];
}

const OTHER = "";

/** Show the form; `opened` is called with the session once the service has answered. */
export async function signIn(main: HTMLElement, opened: (session: Session) => void): Promise<void> {
  const examples = await readExamples();
  const today = new Date();
  const values = {
    example: OTHER,
    number: "",
    month: examples?.mois_declaration ?? formatMonth(month(today.getFullYear(), today.getMonth() + 1)),
    token: "",
  };
  const errors: { number?: string; month?: string; token?: string; form?: string } = {};
  choose(examples?.foyers[0]?.numero_allocataire ?? OTHER);
  draw();

  function choose(number: string): void {
    const example = examples?.foyers.find((foyer) => foyer.numero_allocataire === number);
    values.example = number;
    values.number = example?.numero_allocataire ?? "";
    values.token = example?.jeton ?? "";
  }

  function draw(): void {
    show(
      main,
      h("h1", {}, "Ouvrir une déclaration"),
      h(
        "form",
        { class: "card narrow", novalidate: true, onsubmit: (event) => void submit(event) },
        problem(errors.form),
        examples &&
          field({
            id: "exemple",
            label: "Foyer d'exemple",
            hint: "Des foyers fictifs, chacun avec son jeton.",
            value: values.example,
            choices: [
              ...examples.foyers.map((foyer) => ({
                value: foyer.numero_allocataire,
                label: `${foyer.numero_allocataire} — ${foyer.membres}`,
              })),
              { value: OTHER, label: "Un autre foyer" },
            ],
            onChange: (number) => (choose(number), draw()),
          }),
        field({
          id: "numero",
          label: "Numéro d'allocataire",
          value: values.number,
          error: errors.number,
          attributes: { required: true, maxlength: "32" },
          onChange: (value) => (values.number = value),
        }),
        field({
          id: "mois",
          label: "Mois de la déclaration",
          hint: "Par exemple 2026-11",
          value: values.month,
          error: errors.month,
          attributes: { required: true, maxlength: "7" },
          onChange: (value) => (values.month = value),
        }),
        field({
          id: "jeton",
          label: "Jeton de développement",
          hint: "Laissez vide si le service n'en demande pas. Il reste dans cette page et n'est pas conservé.",
          value: values.token,
          error: errors.token,
          attributes: { type: "password", spellcheck: "false" },
          onChange: (value) => (values.token = value),
        }),
        h("button", { type: "submit", class: "primary" }, "Ouvrir la déclaration"),
      ),
    );
  }

  async function submit(event: Event): Promise<void> {
    event.preventDefault();
    const declared = parseMonth(values.month);
    const number = values.number.trim();
    for (const name of Object.keys(errors)) delete errors[name as keyof typeof errors];
    if (!number) errors.number = "Indiquez le numéro d'allocataire du foyer.";
    if (!declared) errors.month = "Écrivez un mois sous la forme AAAA-MM, par exemple 2026-11.";
    if (declared && number) {
      try {
        const solidarite = connectTo({ baseUrl: location.origin, token: values.token.trim() });
        opened(await Session.open(solidarite, number, declared));
        return;
      } catch (thrown) {
        const error = SolidariteError.from(thrown);
        const onNumber = error.fieldMessage("numero_allocataire");
        const onMonth = error.fieldMessage("mois_declaration");
        if (onNumber) errors.number = onNumber;
        if (onMonth) errors.month = onMonth;
        if (!onNumber && !onMonth) errors.form = error.messageFr;
      }
    }
    draw();
    focusFirstError(main);
  }
}

/** The households of the demonstration; undefined where the gateway serves none. */
async function readExamples(): Promise<Examples | undefined> {
  try {
    const response = await fetch("/exemples.json");
    return response.ok ? ((await response.json()) as Examples) : undefined;
  } catch {
    return undefined;
  }
}
