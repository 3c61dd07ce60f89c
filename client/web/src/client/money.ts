/** Amounts of the contract: whole cents in a bigint, shown and read in euros, never through a float. */

const EUROS = new Intl.NumberFormat("fr-FR", { style: "currency", currency: "EUR" });
const WRITTEN = /^(\d{1,9})(?:[.,](\d{1,2}))?$/;

/** `123456n` is shown `1 234,56 €`. */
export function formatEuros(cents: bigint): string {
  const digits = (cents < 0n ? -cents : cents).toString().padStart(3, "0");
  const text = `${cents < 0n ? "-" : ""}${digits.slice(0, -2)}.${digits.slice(-2)}`;
  return EUROS.format(text as `${number}`);
}

/** Cents of an amount that somebody typed: `912,40`, `1 234`, `912.4 €`; undefined when it is not an amount. */
export function parseEuros(text: string): bigint | undefined {
  const found = WRITTEN.exec(text.replace(/[\s\u00a0\u202f€]/g, ""));
  if (!found) return undefined;
  return BigInt(found[1]!) * 100n + BigInt((found[2] ?? "").padEnd(2, "0"));
}

/** Cents with decimals, as the steps of an explanation have them: `"7820.2800"` is shown `78,2028 €`. */
export function formatExactCents(amount: string): string {
  const negative = amount.startsWith("-");
  const [whole = "", fraction = ""] = amount.replace("-", "").split(".");
  const digits = whole.padStart(3, "0");
  const decimals = (digits.slice(-2) + fraction).replace(/0+$/, "").padEnd(2, "0");
  const text = `${negative ? "-" : ""}${digits.slice(0, -2)}.${decimals}`;
  return EXACT.format(text as `${number}`);
}

const EXACT = new Intl.NumberFormat("fr-FR", {
  style: "currency",
  currency: "EUR",
  minimumFractionDigits: 2,
  maximumFractionDigits: 4,
});
