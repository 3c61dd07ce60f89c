/** Building the page: elements from text only, so that nothing received is ever read as HTML. */

export type Child = Node | string | number | null | undefined | false;
type Attribute = string | number | boolean | undefined | ((event: Event) => void);
type Attributes = Record<string, Attribute>;

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  return filled(document.createElement(tag), attributes, children);
}

export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Attributes = {},
  ...children: Child[]
): SVGElementTagNameMap[K] {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled<E extends Element>(element: E, attributes: Attributes, children: Child[]): E {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false).map(asNode));
  return element;
}

function asNode(child: Child): Node {
  return child instanceof Node ? child : document.createTextNode(String(child));
}

/** Replace what a container shows; the focus, and what was unfolded, stay where they were when it is still there. */
export function show(container: Element, ...children: Child[]): void {
  const focused = document.activeElement?.id;
  const unfolded = [...container.querySelectorAll("details[open][id]")].map((details) => details.id);
  container.replaceChildren(...children.filter((child) => child instanceof Node || child).map(asNode));
  for (const id of unfolded) document.getElementById(id)?.setAttribute("open", "");
  if (focused && document.activeElement === document.body) document.getElementById(focused)?.focus();
}

/** Say something to a screen reader without moving the focus. */
export function announce(text: string): void {
  const region = document.getElementById("annonces")!;
  region.replaceChildren();
  // A region is read when it changes: emptied first, the same sentence twice is read twice.
  setTimeout(() => region.append(h("p", {}, text)), 50);
}

/** An identifier made of anything. */
export function idOf(...parts: (string | number)[]): string {
  return parts.join("-").replace(/[^\p{L}\p{N}-]+/gu, "-");
}
