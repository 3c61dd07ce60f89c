/** The curve of RSA and prime d'activité over the pay: a drawing, and the same figures as a table. */

import { h, svg } from "./dom.ts";

/** Euros a month. */
export interface Point {
  readonly pay: number;
  readonly rsa: number;
  readonly prime: number;
}

const WIDTH = 640;
const HEIGHT = 300;
const LEFT = 56;
const BOTTOM = 40;
const TOP = 16;
const RIGHT = 12;

const SERIES = [
  { name: "RSA", kind: "rsa", of: (point: Point) => point.rsa },
  { name: "Prime d'activité", kind: "prime", of: (point: Point) => point.prime },
  { name: "Total", kind: "total", of: (point: Point) => point.rsa + point.prime },
] as const;

export function drawCurve(points: readonly Point[], now: Point): HTMLElement {
  const highestPay = points.at(-1)!.pay;
  const highest = Math.ceil(Math.max(...points.map((point) => point.rsa + point.prime), 100) / 100) * 100;
  const x = (pay: number) => Math.round(LEFT + (pay / highestPay) * (WIDTH - LEFT - RIGHT));
  const y = (euros: number) => Math.round(HEIGHT - BOTTOM - (euros / highest) * (HEIGHT - BOTTOM - TOP));
  const step = highest > 800 ? 400 : highest > 400 ? 200 : 100;
  const levels = Array.from({ length: Math.floor(highest / step) + 1 }, (_, place) => place * step);
  return h(
    "figure",
    { class: "chart" },
    svg(
      "svg",
      { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-labelledby": "courbe-titre" },
      svg(
        "title",
        { id: "courbe-titre" },
        "RSA et prime d'activité selon le salaire ; les mêmes chiffres sont dans le tableau qui suit.",
      ),
      ...levels.map((euros) =>
        svg(
          "g",
          { class: "grid" },
          svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(euros), y2: y(euros) }),
          svg("text", { x: LEFT - 8, y: y(euros) + 4, "text-anchor": "end" }, `${euros} €`),
        ),
      ),
      ...[0, 1000, 2000, 3000].map((pay) =>
        svg(
          "text",
          { class: "tick", x: x(pay), y: HEIGHT - BOTTOM + 20, "text-anchor": pay === highestPay ? "end" : "middle" },
          `${pay} €`,
        ),
      ),
      svg(
        "text",
        { class: "tick", x: (LEFT + WIDTH) / 2, y: HEIGHT - 4, "text-anchor": "middle" },
        "salaire net social par mois",
      ),
      ...SERIES.map(({ kind, of }) =>
        svg("polyline", {
          class: `curve ${kind}`,
          points: points.map((point) => `${x(point.pay)},${y(of(point))}`).join(" "),
        }),
      ),
      svg("line", { class: "now", x1: x(now.pay), x2: x(now.pay), y1: TOP, y2: HEIGHT - BOTTOM }),
      ...SERIES.map(({ kind, of }) => svg("circle", { class: `dot ${kind}`, cx: x(now.pay), cy: y(of(now)), r: 5 })),
    ),
    h("figcaption", {}, ...SERIES.map(({ name, kind }) => h("span", { class: `key ${kind}` }, sample(kind), name))),
    table(points),
  );
}

function sample(kind: string): SVGElement {
  return svg(
    "svg",
    { viewBox: "0 0 34 10", width: 34, height: 10, "aria-hidden": "true" },
    svg("polyline", { class: `curve ${kind}`, points: "0,5 34,5" }),
  );
}

function table(points: readonly Point[]): HTMLElement {
  const euros = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });
  return h(
    "details",
    { id: "courbe-chiffres" },
    h("summary", {}, "Les chiffres de la courbe"),
    h(
      "table",
      { class: "figures" },
      h("caption", { class: "sr" }, "Droits selon le salaire, par mois"),
      h(
        "thead",
        {},
        h("tr", {}, ...["Salaire", ...SERIES.map(({ name }) => name)].map((name) => h("th", { scope: "col" }, name))),
      ),
      h(
        "tbody",
        {},
        ...points.map((point) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, euros.format(point.pay)),
            ...SERIES.map(({ of }) => h("td", {}, euros.format(of(point)))),
          ),
        ),
      ),
    ),
  );
}
