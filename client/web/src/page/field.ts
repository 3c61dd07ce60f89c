/** A form field with its label, its hint and its error, tied together for everybody. */

import { h } from "./dom.ts";

export interface Field {
  readonly id: string;
  readonly label: string;
  readonly hint?: string;
  readonly error?: string | undefined;
  readonly value?: string;
  /** Choices of a list; without them the field is a line of text. */
  readonly choices?: readonly { readonly value: string; readonly label: string }[];
  readonly attributes?: Record<string, string | boolean>;
  readonly onChange?: (value: string) => void;
}

export function field(of: Field): HTMLElement {
  const described = [of.hint && `${of.id}-aide`, of.error && `${of.id}-erreur`].filter(Boolean).join(" ");
  const common = {
    id: of.id,
    name: of.id,
    "aria-describedby": described || undefined,
    "aria-invalid": of.error ? "true" : undefined,
    ...of.attributes,
  };
  const control = of.choices
    ? h(
        "select",
        common,
        ...of.choices.map(({ value, label }) => h("option", { value, selected: value === of.value }, label)),
      )
    : h("input", { type: "text", autocomplete: "off", value: of.value ?? "", ...common });
  if (of.onChange) {
    const changed = of.onChange;
    control.addEventListener(of.choices ? "change" : "input", () => changed(control.value));
  }
  return h(
    "div",
    { class: of.error ? "field wrong" : "field" },
    h("label", { for: of.id }, of.label),
    of.hint && h("p", { class: "hint", id: `${of.id}-aide` }, of.hint),
    control,
    of.error && h("p", { class: "error", id: `${of.id}-erreur` }, of.error),
  );
}

/** What went wrong as a whole, read at once. */
export function problem(text: string | undefined): HTMLElement | false {
  return text !== undefined && h("p", { class: "problem", role: "alert" }, text);
}

/** Put the focus on the first field at fault of a form, if any. */
export function focusFirstError(form: Element | null): void {
  form?.querySelector<HTMLElement>('[aria-invalid="true"]')?.focus();
}
