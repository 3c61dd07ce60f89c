/** Calls to the service by gRPC-Web, from a browser or Node. */

import { type Client, Code, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";

import type { Month } from "../gen/solidarite/v1/common_pb.ts";
import { DeclarationService, type WatchDeclarationResponse } from "../gen/solidarite/v1/declaration_pb.ts";
import { EntitlementService } from "../gen/solidarite/v1/entitlement_pb.ts";
import { ErrorReason } from "../gen/solidarite/v1/error_reason_pb.ts";
import { FoyerService } from "../gen/solidarite/v1/foyer_pb.ts";
import { errorsInterceptor, SolidariteError } from "./errors.ts";

export interface SolidariteOptions {
  /** The gateway, for example `https://passerelle.example`; its own origin for a page that it serves. */
  readonly baseUrl: string;
  /** The token of the portal, or how to get the current one before each call. */
  readonly token?: string | (() => string | Promise<string>);
}

/** The services that a front-end calls; every failure is a SolidariteError. */
export interface Solidarite {
  readonly declarations: Client<typeof DeclarationService>;
  readonly entitlements: Client<typeof EntitlementService>;
  readonly foyers: Client<typeof FoyerService>;
}

/**
 * The services behind a gateway.
 *
 *     const { declarations } = connectTo({ baseUrl: "http://127.0.0.1:8080", token });
 *     const { declaration } = await declarations.prefillDeclaration({
 *       numeroAllocataire: "0000001",
 *       moisDeclaration: month(2026, 11),
 *     });
 */
export function connectTo(options: SolidariteOptions): Solidarite {
  const transport = createGrpcWebTransport({
    baseUrl: options.baseUrl,
    interceptors: [comesBack, errorsInterceptor, identified(options.token)],
  });
  return {
    declarations: createClient(DeclarationService, transport),
    entitlements: createClient(EntitlementService, transport),
    foyers: createClient(FoyerService, transport),
  };
}

const TIMES_AGAIN = 3;

/**
 * A call refused because too many were waiting was not carried out: it is made again after the delay that the service
 * gives, up to three times.
 */
const comesBack: Interceptor = (next) => async (request) => {
  for (let again = 0; ; again++) {
    try {
      return await next(request);
    } catch (thrown) {
      const { reason, retryAfterSeconds } = SolidariteError.from(thrown);
      const refused = reason === ErrorReason.OVERLOADED && retryAfterSeconds !== undefined;
      if (!refused || request.stream || again === TIMES_AGAIN) throw thrown;
      await pause(retryAfterSeconds, request.signal);
      if (request.signal.aborted) throw thrown;
    }
  }
};

function identified(token: SolidariteOptions["token"]): Interceptor {
  return (next) => async (request) => {
    const value = typeof token === "function" ? await token() : token;
    if (value) request.header.set("authorization", `Bearer ${value}`);
    return next(request);
  };
}

const LONGEST_DELAY_SECONDS = 30;

/**
 * Notices about a declaration, for as long as `signal` is not aborted. A server that drains or a cut network is called
 * again, after a growing pause. The first notice of each connection has no change: compare its etag with yours.
 * Ends by itself when the declaration is submitted: nothing changes it any more.
 */
export async function* watchDeclaration(
  solidarite: Solidarite,
  declaration: { numeroAllocataire: string; moisDeclaration: Month },
  signal: AbortSignal,
): AsyncGenerator<WatchDeclarationResponse> {
  for (let delay = 1; !signal.aborted; delay = Math.min(delay * 2, LONGEST_DELAY_SECONDS)) {
    try {
      for await (const notice of solidarite.declarations.watchDeclaration(declaration, { signal })) {
        delay = 1;
        yield notice;
      }
      return;
    } catch (thrown) {
      const error = SolidariteError.from(thrown);
      if (signal.aborted) return;
      if (![Code.Unavailable, Code.Unknown, Code.ResourceExhausted].includes(error.code)) throw error;
      await pause(error.retryAfterSeconds ?? delay, signal);
    }
  }
}

function pause(seconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });
}
