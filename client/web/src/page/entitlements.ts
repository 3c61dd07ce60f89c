/** The three coming payments, and how each amount is made, step by step down to the article. */

import {
  type BenefitEntitlement,
  type DatedParameter,
  dayLabel,
  type ExplanationStep,
  formatEuros,
  formatExactCents,
  formatMonth,
  type MonthlyEntitlement,
  monthLabel,
} from "../client/index.ts";
import { type Child, h, idOf } from "./dom.ts";
import { BENEFITS } from "./labels.ts";
import type { Session } from "./session.ts";

export function paymentsView(session: Session): Child[] {
  const { months, estimate } = session.entitlements;
  return [
    h(
      "p",
      { class: estimate ? "estimate" : "quiet" },
      estimate
        ? "Estimation d'après les montants affichés : rien n'est dû tant que la déclaration n'est pas validée."
        : "Montants fixés par la validation de la déclaration.",
    ),
    h("div", { class: "payments" }, ...months.map(payment)),
    ...(months[0]?.benefits ?? []).map(explanation),
  ];
}

function payment(month: MonthlyEntitlement): HTMLElement {
  const total = month.benefits.reduce((sum, benefit) => sum + benefit.montantVerseCents, 0n);
  const id = idOf("versement", formatMonth(month.moisDroit!));
  return h(
    "article",
    { class: "card payment", "aria-labelledby": id },
    h("h3", { id }, monthLabel(month.moisDroit!)),
    h("p", { class: "sum" }, formatEuros(total)),
    h(
      "dl",
      {},
      ...month.benefits.map((benefit) =>
        h(
          "div",
          {},
          h("dt", {}, BENEFITS[benefit.benefit]),
          h("dd", {}, formatEuros(benefit.montantVerseCents)),
          benefit.motif && h("dd", { class: "why" }, benefit.motif),
        ),
      ),
    ),
  );
}

function explanation(benefit: BenefitEntitlement): Child {
  if (benefit.steps.length === 0) return null;
  const name = BENEFITS[benefit.benefit];
  return h(
    "details",
    { class: "card explanation", id: idOf("calcul", benefit.benefit) },
    h(
      "summary",
      {},
      h("span", {}, `Comprendre le calcul : ${name}`),
      h("span", { class: "amount" }, formatEuros(benefit.montantCents)),
    ),
    h(
      "p",
      { class: "quiet" },
      "Pour le premier mois. Les étapes s'additionnent ; chacune se déplie jusqu'à son article.",
    ),
    ...byMonth(outline(benefit.steps)).flatMap(([title, steps]) => [
      h("h4", {}, title),
      h(
        "ul",
        { class: "steps" },
        ...steps.map((step, place) => stepView(step, idOf("etape", benefit.benefit, title, place))),
      ),
    ]),
    benefit.montantNetCrdsCents !== benefit.montantCents &&
      h("p", {}, `Après la CRDS de 0,5 % : ${formatEuros(benefit.montantNetCrdsCents)}.`),
  );
}

interface Step {
  readonly step: ExplanationStep;
  readonly children: readonly Step[];
}

/** Steps as a tree: in the contract, a step comes after the deeper ones that it sums. */
export function outline(steps: readonly ExplanationStep[]): Step[] {
  const roots: Step[] = [];
  for (const step of steps) {
    const children: Step[] = [];
    while (roots.length > 0 && roots.at(-1)!.step.depth > step.depth) children.unshift(roots.pop()!);
    roots.push({ step, children });
  }
  return roots;
}

function byMonth(steps: readonly Step[]): [string, Step[]][] {
  const groups = new Map<string, Step[]>();
  for (const one of steps) {
    const title = one.step.mois ? monthLabel(one.step.mois) : "Sur le trimestre";
    groups.set(title, [...(groups.get(title) ?? []), one]);
  }
  return [...groups];
}

function stepView({ step, children }: Step, id: string): HTMLElement {
  return h(
    "li",
    {},
    h(
      "details",
      { id },
      h(
        "summary",
        {},
        h("span", {}, step.label, step.personne && ` — ${step.personne}`),
        step.amountCents && h("span", { class: "amount" }, formatExactCents(step.amountCents)),
      ),
      children.length > 0 &&
        h("ul", { class: "steps" }, ...children.map((child, place) => stepView(child, idOf(id, place)))),
      h("p", { class: "article" }, "Article : ", h("strong", {}, step.article)),
      step.parameters.length > 0 && h("ul", { class: "parameters" }, ...step.parameters.map(parameterView)),
    ),
  );
}

const UNITS: Record<string, string> = { taux: "", "EUR/mois": "€ par mois" };

function parameterView(parameter: DatedParameter): HTMLElement {
  const name = h("span", {}, parameter.label, " ", h("code", {}, parameter.name));
  const since = parameter.since ? `, depuis le ${dayLabel(parameter.since)}` : "";
  const unit = UNITS[parameter.unit] ?? parameter.unit;
  const value = [parameter.value.replace(".", ","), unit].filter(Boolean).join(" ");
  return h("li", {}, name, ` : ${value}${since} (${parameter.source})`);
}
