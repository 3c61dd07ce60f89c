/** The client of solidarite-source for TypeScript: typed calls by gRPC-Web, months, amounts and errors in French. */

export { connectTo, watchDeclaration, type Solidarite, type SolidariteOptions } from "./connect.ts";
export { SolidariteError, type FieldError } from "./errors.ts";
export { formatEuros, formatExactCents, parseEuros } from "./money.ts";
export { addMonths, dayLabel, formatMonth, instantLabel, month, monthLabel, parseMonth } from "./months.ts";

export * from "../gen/solidarite/v1/common_pb.ts";
export * from "../gen/solidarite/v1/declaration_pb.ts";
export * from "../gen/solidarite/v1/entitlement_pb.ts";
export { ErrorReason } from "../gen/solidarite/v1/error_reason_pb.ts";
export * from "../gen/solidarite/v1/foyer_pb.ts";
export { type HeldRecord, FluxSource, RecordMode } from "../gen/solidarite/v1/resource_record_pb.ts";
