/** What the service answers when it refuses: a reason to decide on, a French sentence to show, the fields at fault. */

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";

import {
  BadRequestSchema,
  ErrorInfoSchema,
  LocalizedMessageSchema,
  RetryInfoSchema,
} from "../gen/google/rpc/error_details_pb.ts";
import { ErrorReason } from "../gen/solidarite/v1/error_reason_pb.ts";

const DOMAIN = "solidarite.v1";

/** A field at fault: its path in the contract's names (`amendments[0].rectification.montant_declare_cents`). */
export interface FieldError {
  readonly path: string;
  readonly messageFr: string;
}

/** Every error of a call. `reason` says what it is, `messageFr` is for the screen, `fields` tie it to the form. */
export class SolidariteError extends ConnectError {
  /** UNSPECIFIED when no answer of the service came: cut network, aborted call. */
  readonly reason: ErrorReason;
  readonly messageFr: string;
  readonly fields: readonly FieldError[];
  /** When to try again; undefined when trying again would not help. */
  readonly retryAfterSeconds: number | undefined;
  /** What to quote to the operator after an internal error; empty otherwise. */
  readonly reference: string;

  private constructor(error: ConnectError) {
    super(error.rawMessage, error.code, error.metadata, undefined, error.cause);
    this.details = error.details;
    const info = error.findDetails(ErrorInfoSchema).find((one) => one.domain === DOMAIN);
    const retry = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
    this.reason = info ? reasonOf(info.reason) : ErrorReason.UNSPECIFIED;
    this.reference = info?.metadata["reference"] ?? "";
    this.messageFr = error.findDetails(LocalizedMessageSchema)[0]?.message ?? withoutAnswer(error.code);
    this.fields = error
      .findDetails(BadRequestSchema)
      .flatMap((bad) => bad.fieldViolations)
      .map((one) => ({ path: one.field, messageFr: one.description }));
    this.retryAfterSeconds = retry ? Number(retry.seconds) + retry.nanos / 1e9 : undefined;
  }

  // ConnectError recognises its kind by name and shape, also for classes derived from it.
  static override [Symbol.hasInstance](value: unknown): boolean {
    return value instanceof Error && "messageFr" in value;
  }

  /** The same error with all that came with it; anything thrown is accepted. */
  static override from(thrown: unknown): SolidariteError {
    return thrown instanceof SolidariteError ? thrown : new SolidariteError(ConnectError.from(thrown));
  }

  /** The French message of the field of that path, or of one whose path ends so; undefined when it is not at fault. */
  fieldMessage(path: string): string | undefined {
    return this.fields.find((field) => field.path === path || field.path.endsWith(`.${path}`))?.messageFr;
  }
}

/** Turns whatever a call throws into a SolidariteError, also in the middle of a stream. */
export const errorsInterceptor: Interceptor = (next) => async (request) => {
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: mapped(response.message) } : response;
  } catch (thrown) {
    throw SolidariteError.from(thrown);
  }
};

async function* mapped<T>(messages: AsyncIterable<T>): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw SolidariteError.from(thrown);
  }
}

function reasonOf(name: string): ErrorReason {
  // A newer server may know more reasons than this client.
  return (ErrorReason as unknown as Record<string, ErrorReason>)[name] ?? ErrorReason.UNSPECIFIED;
}

function withoutAnswer(code: Code): string {
  switch (code) {
    case Code.Canceled:
      return "L'appel a été abandonné.";
    case Code.DeadlineExceeded:
      return "Pas de réponse dans le temps accordé : réessayez.";
    case Code.Unavailable:
    case Code.Unknown:
      return "Le service ne répond pas : vérifiez la connexion, puis réessayez.";
    default:
      return "La demande n'a pas abouti.";
  }
}
