import { Code } from "@connectrpc/connect";
import { expect, inject, test } from "vitest";

import {
  connectTo,
  DeclarationState,
  ErrorReason,
  formatMonth,
  LineStatus,
  month,
  SolidariteError,
  watchDeclaration,
} from "../src/client/index.ts";

const solidarite = connectTo({ baseUrl: inject("gateway"), token: () => inject("tokens")[inject("foyer")]! });
const november = { numeroAllocataire: inject("foyer"), moisDeclaration: month(2026, 11) };

async function refusal(call: Promise<unknown>): Promise<SolidariteError> {
  const thrown: unknown = await call.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(SolidariteError);
  return thrown as SolidariteError;
}

test("a declaration comes prefilled, with cents as bigint", async () => {
  const { declaration } = await solidarite.declarations.prefillDeclaration(november);
  expect(declaration!.moisReference.map(formatMonth)).toEqual(["2026-07", "2026-08", "2026-09"]);
  const line = declaration!.lines.find((one) => one.records.length > 0)!;
  expect(line.montantPrerempliCents).toBeTypeOf("bigint");
  expect(line.records.reduce((sum, record) => sum + record.montantNetSocialCents, 0n)).toBe(line.montantPrerempliCents);
});

test("an error says its reason, its field and a French sentence", async () => {
  const error = await refusal(
    solidarite.declarations.getDeclaration({ ...november, moisDeclaration: month(2026, 13) }),
  );
  expect(error.code).toBe(Code.InvalidArgument);
  expect(error.reason).toBe(ErrorReason.INVALID_FIELD);
  expect(error.fields.map((field) => field.path)).toEqual(["mois_declaration"]);
  expect(error.fieldMessage("mois_declaration")).toContain("de 1 à 12");
  expect(error.messageFr).toContain("de 1 à 12");
  expect(error.retryAfterSeconds).toBeUndefined();
});

test("what the gateway does not let through is refused in French too", async () => {
  const error = await refusal(solidarite.foyers.upsertFoyer({}));
  expect(error.reason).toBe(ErrorReason.NOT_IMPLEMENTED);
  expect(error.messageFr).toContain("La passerelle ne donne pas accès");
});

test("without a token the answer says that one is needed", async () => {
  const nobody = connectTo({ baseUrl: inject("gateway") });
  const error = await refusal(nobody.declarations.prefillDeclaration(november));
  expect(error.code).toBe(Code.Unauthenticated);
  expect(error.reason).toBe(ErrorReason.UNAUTHENTICATED);
});

test("no answer at all is an error with a French sentence", async () => {
  const nobody = connectTo({ baseUrl: "http://127.0.0.1:9" });
  const error = await refusal(nobody.foyers.getFoyer({ numeroAllocataire: "X" }));
  expect(error.reason).toBe(ErrorReason.UNSPECIFIED);
  expect(error.messageFr).toContain("Le service ne répond pas");
});

test("a rectification without a justification is refused, with its field", async () => {
  const { declaration } = await solidarite.declarations.prefillDeclaration(november);
  const line = declaration!.lines.find((one) => one.status === LineStatus.PREREMPLI)!;
  const error = await refusal(
    solidarite.declarations.amendDeclaration({
      ...november,
      etag: declaration!.etag,
      requestId: crypto.randomUUID(),
      amendments: [{ change: { case: "rectification", value: { lineId: line.lineId, montantDeclareCents: 1_00n } } }],
    }),
  );
  expect(error.reason).toBe(ErrorReason.JUSTIFICATION_MISSING);
  expect(error.fieldMessage("rectification.justification_reference")).toBeTruthy();
});

test("a watch tells what was amended, then ends with the caller", async () => {
  const stop = new AbortController();
  const etags: string[] = [];
  for await (const notice of watchDeclaration(solidarite, november, stop.signal)) {
    etags.push(notice.etag);
    if (etags.length === 2) stop.abort();
    else
      await solidarite.declarations.amendDeclaration({
        ...november,
        etag: notice.etag,
        requestId: crypto.randomUUID(),
        amendments: [{ change: { case: "confirmation", value: {} } }],
      });
  }
  expect(new Set(etags).size).toBe(2);
});

test("submitting gives three months of right, explained", async () => {
  const { declaration: before } = await solidarite.declarations.prefillDeclaration(november);
  const { declaration } = await solidarite.declarations.submitDeclaration({
    ...november,
    etag: before!.etag,
    requestId: crypto.randomUUID(),
    explain: true,
  });
  expect(declaration!.state).toBe(DeclarationState.VALIDEE);
  expect(declaration!.entitlements.map((one) => formatMonth(one.moisDroit!))).toEqual([
    "2026-11",
    "2026-12",
    "2027-01",
  ]);
  expect(declaration!.entitlements[0]!.benefits[0]!.steps.some((step) => step.article.startsWith("CASF"))).toBe(true);
  const error = await refusal(
    solidarite.declarations.amendDeclaration({
      ...november,
      etag: declaration!.etag,
      requestId: crypto.randomUUID(),
      amendments: [{ change: { case: "confirmation", value: {} } }],
    }),
  );
  expect(error.reason).toBe(ErrorReason.TRANSITION_REFUSED);
});
