import { expect, test } from "vitest";

import {
  addMonths,
  dayLabel,
  formatEuros,
  formatExactCents,
  formatMonth,
  instantLabel,
  month,
  monthLabel,
  parseEuros,
  parseMonth,
} from "../src/client/index.ts";

/** French typography has no-break spaces: as spaces here. */
const plain = (text: string) => text.replace(/[\u00a0\u202f]/g, " ");

test("cents are shown in euros to the last digit, however large", () => {
  expect(plain(formatEuros(123_456n))).toBe("1 234,56 €");
  expect(plain(formatEuros(5n))).toBe("0,05 €");
  expect(plain(formatEuros(-64_020n))).toBe("-640,20 €");
  expect(plain(formatEuros(9_007_199_254_740_993n))).toBe("90 071 992 547 409,93 €");
});

test("steps keep their decimals of cents", () => {
  expect(plain(formatExactCents("7820.2800"))).toBe("78,2028 €");
  expect(plain(formatExactCents("-65169.0000"))).toBe("-651,69 €");
  expect(plain(formatExactCents("5"))).toBe("0,05 €");
});

test.each([
  ["912,40", 91_240n],
  ["1 234", 123_400n],
  ["912.4 €", 91_240n],
  ["0", 0n],
])("an amount typed %s is read", (text, cents) => expect(parseEuros(text)).toBe(cents));

test.each(["", "douze", "-5", "1,234", "1e3", "12345678901"])("what is no amount is not read: %j", (text) =>
  expect(parseEuros(text)).toBeUndefined(),
);

test("what is shown is read again", () => {
  for (const cents of [0n, 5n, 99n, 100n, 64_020n, 123_456_789n]) expect(parseEuros(formatEuros(cents))).toBe(cents);
});

test("months are read, written, named and counted", () => {
  expect(formatMonth(parseMonth("2026-11")!)).toBe("2026-11");
  expect(monthLabel(month(2026, 8))).toBe("août 2026");
  expect(formatMonth(addMonths(month(2026, 11), 2))).toBe("2027-01");
  expect(formatMonth(addMonths(month(2026, 1), -4))).toBe("2025-09");
});

test.each(["2026-13", "2026-1", "1989-12", "novembre"])("what is no month is not read: %s", (text) =>
  expect(parseMonth(text)).toBeUndefined(),
);

test("days are told as they are said", () => {
  expect(dayLabel({ year: 2026, month: 4, day: 1 } as never)).toBe("1er avril 2026");
  expect(dayLabel({ year: 2026, month: 7, day: 31 } as never)).toBe("31 juillet 2026");
});

test("instants are told in Paris time", () => {
  expect(plain(instantLabel({ seconds: 1_793_876_400n, nanos: 0 }))).toBe("5 novembre 2026 à 12:00");
});
