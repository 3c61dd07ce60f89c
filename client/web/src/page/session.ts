/** One household's declaration while the page is open: read, changed, submitted, and watched for late corrections. */

import type { MessageInitShape } from "@bufbuild/protobuf";

import {
  type AmendmentSchema,
  type Declaration,
  type DeclarationLine,
  type Foyer,
  formatEuros,
  type GetEntitlementsResponse,
  type Month,
  monthLabel,
  type Solidarite,
  SolidariteError,
  type TimelineEvent,
  watchDeclaration,
} from "../client/index.ts";

/** A change as it is written: the client completes the messages. */
export type Change = NonNullable<MessageInitShape<typeof AmendmentSchema>["change"]>;

/** A correction of a payer that arrived while the page was open. */
export interface Notice {
  readonly lineId: string;
  readonly text: string;
}

export class Session extends EventTarget {
  declaration!: Declaration;
  timeline: readonly TimelineEvent[] = [];
  entitlements!: GetEntitlementsResponse;
  foyer!: Foyer;
  notices: readonly Notice[] = [];
  /** Lines that a late correction changed since the page was opened. */
  readonly corrected = new Set<string>();
  private readonly stopped = new AbortController();

  private constructor(
    readonly solidarite: Solidarite,
    readonly numeroAllocataire: string,
    readonly moisDeclaration: Month,
  ) {
    super();
  }

  /** Read everything, then watch. */
  static async open(solidarite: Solidarite, numeroAllocataire: string, moisDeclaration: Month): Promise<Session> {
    const session = new Session(solidarite, numeroAllocataire, moisDeclaration);
    const [{ foyer }] = await Promise.all([solidarite.foyers.getFoyer({ numeroAllocataire }), session.read()]);
    session.foyer = foyer!;
    void session.watch();
    return session;
  }

  close(): void {
    this.stopped.abort();
  }

  /** A change that the household asks for; SolidariteError when it is refused, and then nothing is kept. */
  async amend(change: Change): Promise<void> {
    await this.solidarite.declarations.amendDeclaration({
      ...this.name,
      etag: this.declaration.etag,
      requestId: crypto.randomUUID(),
      amendments: [{ change }],
    });
    await this.refresh();
  }

  async submit(): Promise<void> {
    await this.solidarite.declarations.submitDeclaration({
      ...this.name,
      etag: this.declaration.etag,
      requestId: crypto.randomUUID(),
    });
    await this.refresh();
  }

  /** Read again and tell the page; corrections of payers are told apart. */
  async refresh(): Promise<void> {
    const before = this.declaration;
    await this.read();
    const found = corrections(before, this.declaration);
    this.notices = [...this.notices, ...found];
    for (const { lineId } of found) this.corrected.add(lineId);
    this.dispatchEvent(new Event("change"));
    if (found.length > 0) this.dispatchEvent(new Event("corrected"));
  }

  dismissNotices(): void {
    this.notices = [];
    this.dispatchEvent(new Event("change"));
  }

  get name(): { numeroAllocataire: string; moisDeclaration: Month } {
    return { numeroAllocataire: this.numeroAllocataire, moisDeclaration: this.moisDeclaration };
  }

  line(lineId: string): DeclarationLine | undefined {
    return this.declaration.lines.find((line) => line.lineId === lineId);
  }

  private async read(): Promise<void> {
    const [read, entitlements] = await Promise.all([
      this.solidarite.declarations.getDeclaration(this.name),
      this.solidarite.entitlements.getEntitlements({ ...this.name, explain: true }),
    ]);
    this.declaration = read.declaration!;
    this.timeline = read.timeline;
    this.entitlements = entitlements;
  }

  private async watch(): Promise<void> {
    try {
      for await (const notice of watchDeclaration(this.solidarite, this.name, this.stopped.signal)) {
        // Compared with what is shown rather than told by the notice: what came during a cut is seen too.
        if (notice.etag !== this.declaration.etag) await this.refresh();
      }
    } catch (thrown) {
      // The page goes on without live notices: the next change is refused if something else changed (ETAG_STALE).
      console.warn("suivi interrompu :", SolidariteError.from(thrown).messageFr);
    }
  }
}

/** Lines whose amount from payers is not what it was. */
function corrections(before: Declaration, after: Declaration): Notice[] {
  const old = new Map(before.lines.map((line) => [line.lineId, line]));
  const now = new Map(after.lines.map((line) => [line.lineId, line]));
  return [...new Set([...old.keys(), ...now.keys()])].flatMap((lineId) => {
    const was = old.get(lineId)?.montantPrerempliCents ?? 0n;
    const is = now.get(lineId)?.montantPrerempliCents ?? 0n;
    return was === is ? [] : [{ lineId, text: noticeText((now.get(lineId) ?? old.get(lineId))!, was, is) }];
  });
}

function noticeText(line: DeclarationLine, was: bigint, is: bigint): string {
  const where = `${line.personne}, ${line.labelFr.toLowerCase()} de ${monthLabel(line.mois!)}`;
  return `${where} : ${formatEuros(was)} → ${formatEuros(is)}`;
}
