/** Node's own gRPC library, from the proto files: no generated code, native gRPC through the same gateway. */

import { fileURLToPath } from "node:url";

import { credentials, type ClientReadableStream, loadPackageDefinition, Metadata, status } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { expect, inject, test } from "vitest";

const path = (relative: string) => fileURLToPath(new URL(relative, import.meta.url));
const definition = loadSync("solidarite/v1/declaration.proto", {
  // google/api/annotations.proto comes with protobufjs, which proto-loader brings.
  includeDirs: [path("../../../proto"), path("../node_modules/protobufjs")],
  keepCase: true,
  longs: String,
  enums: String,
});
const { DeclarationService } = (loadPackageDefinition(definition) as any).solidarite.v1;
const client = new DeclarationService(new URL(inject("gateway")).host, credentials.createInsecure());
const identity = new Metadata();
identity.set("authorization", `Bearer ${inject("tokens")["0000002"]}`);
const november = { numero_allocataire: "0000002", mois_declaration: { year: 2026, month: 11 } };

test("grpc-js prefills a declaration", async () => {
  const { declaration } = await new Promise<any>((resolve, reject) =>
    client.PrefillDeclaration(november, identity, (error: Error | null, answer: unknown) =>
      error ? reject(error) : resolve(answer),
    ),
  );
  const july = declaration.lines.find((line: any) => line.line_id === "Zoé/2026-07/SALAIRE");
  expect(july.montant_prerempli_cents).toBe("64020");
});

test("grpc-js is told of an unknown household in French", async () => {
  const error = await new Promise<any>((resolve) =>
    client.GetDeclaration({ ...november, numero_allocataire: "INCONNU" }, identity, (refused: unknown) =>
      resolve(refused),
    ),
  );
  expect(error.code).toBe(status.NOT_FOUND);
  expect(error.details).toBe("Aucun dossier de ce numéro.");
});

test("grpc-js watches a declaration", async () => {
  const stream: ClientReadableStream<any> = client.WatchDeclaration(november, identity);
  stream.on("error", () => {}); // the cancellation below
  const first = await new Promise<any>((resolve) => stream.once("data", resolve));
  stream.cancel();
  expect(first.etag).toBeTruthy();
});
