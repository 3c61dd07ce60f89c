/** Months and days of the contract: written, read, named in French. */

import { create } from "@bufbuild/protobuf";

import { MonthSchema, type Date as Day, type Month } from "../gen/solidarite/v1/common_pb.ts";

const MONTH_NAME = new Intl.DateTimeFormat("fr-FR", { month: "long", year: "numeric", timeZone: "UTC" });
const DAY_NAME = new Intl.DateTimeFormat("fr-FR", { dateStyle: "long", timeZone: "UTC" });
const INSTANT_NAME = new Intl.DateTimeFormat("fr-FR", {
  dateStyle: "long",
  timeStyle: "short",
  timeZone: "Europe/Paris",
});

/** A month: `month(2026, 11)`. The server refuses what is not one, with the path of the field. */
export function month(year: number, number: number): Month {
  return create(MonthSchema, { year, month: number });
}

/** The month written `2026-11`; undefined when the text is not a month between 1990-01 and 2099-12. */
export function parseMonth(text: string): Month | undefined {
  const found = /^(199\d|20\d\d)-(0[1-9]|1[0-2])$/.exec(text.trim());
  return found ? month(Number(found[1]), Number(found[2])) : undefined;
}

/** `2026-11`: sortable, and what `parseMonth` reads. */
export function formatMonth(value: Month): string {
  return `${value.year}-${String(value.month).padStart(2, "0")}`;
}

/** `novembre 2026`. */
export function monthLabel(value: Month): string {
  return MONTH_NAME.format(Date.UTC(value.year, value.month - 1));
}

/** The month that comes `count` months later; earlier when negative. */
export function addMonths(value: Month, count: number): Month {
  const index = value.year * 12 + value.month - 1 + count;
  return month(Math.floor(index / 12), (index % 12) + 1);
}

/** `31 juillet 2026`, `1er avril 2026`. */
export function dayLabel(value: Day): string {
  return DAY_NAME.format(Date.UTC(value.year, value.month - 1, value.day)).replace(/^1 /, "1er ");
}

/** `5 novembre 2026 à 12:00`, Paris time. */
export function instantLabel(value: { seconds: bigint; nanos: number }): string {
  return INSTANT_NAME.format(Number(value.seconds) * 1000 + value.nanos / 1_000_000).replace(/^1 /, "1er ");
}
