import { randomUUID } from "node:crypto";
import {
  type CopyRequest,
  keys,
  type RefusalDocument,
  type RequestDocument,
} from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import { type Position, START } from "../core/position.ts";
import type { Documents } from "../core/queue.ts";
import { LatestWriter } from "./latest-writer.ts";
import type { ApplierOptions } from "./options.ts";
import { resyncAll } from "./resync.ts";

/** A resend asked for is given this long before it is asked for again. */
const RESEND_PATIENCE_MS = 5_000;

/** What the applier asks of the relay: copies of tables, and batches once more. */
export class Requests {
  readonly #sync: string;
  readonly #from: string;
  readonly #documents: Documents;
  readonly #writer: LatestWriter<RequestDocument>;
  #resend: { readonly id: string; readonly from: number; readonly askedAt: number } | null = null;
  /** Null until this process has written it: what stands there is an earlier run's. */
  #asked: RequestDocument | null = null;

  constructor({ sync, from, queue, logger }: ApplierOptions) {
    this.#sync = sync;
    this.#from = from;
    this.#documents = queue.documents;
    const key = keys.request(from, sync);
    this.#writer = new LatestWriter((request) => queue.documents.put(key, request), key, logger);
  }

  get awaitResend(): boolean {
    return this.#resend !== null;
  }

  /** A resend from up to here has come. */
  applied({ batch }: Position): void {
    if (this.#resend !== null && batch >= this.#resend.from) this.#resend = null;
  }

  /** Says what is still wanted, when that has changed. `readTo`: what was read of the stream. */
  put(copies: readonly CopyRequest[], readTo: Position): void {
    const resend = this.#resend === null ? null : { id: this.#resend.id, from: this.#resend.from };
    const position = copies.length > 0 ? readTo : START;
    const request: RequestDocument = { resend, copies, position };
    if (JSON.stringify(request) === JSON.stringify(this.#asked)) return;
    this.#asked = request;
    this.#writer.put(request);
  }

  /** Asks for all behind this position. */
  async askResend(position: Position): Promise<void> {
    const from = position.batch + 1;
    await this.checkRefusal(position);
    const asked = this.#resend;
    const now = performance.now();
    if (asked?.from === from && now - asked.askedAt < RESEND_PATIENCE_MS) return;
    this.#resend = { id: randomUUID(), from, askedAt: now };
    const { copies, position: readTo } = this.#asked ?? { copies: [], position: START };
    this.#asked = { copies, position: readTo, resend: { id: this.#resend.id, from } };
    this.#writer.put(this.#asked);
  }

  /** Throws TM-BATCH-PURGED when the relay has said that what comes next is gone. */
  async checkRefusal(position: Position): Promise<void> {
    const key = keys.refusal(this.#from, this.#sync);
    const refusal = (await this.#documents.get(key)) as RefusalDocument | null;
    if (refusal === null || refusal.from > position.batch + 1) return;
    throw new TidemarkError("TM-BATCH-PURGED", refusal.message, {
      fix: `Copy its tables anew: ${resyncAll(this.#sync)}.`,
      details: { sync: this.#sync, from: refusal.from },
    });
  }

  /** Writes them again, for a queue that has lost them. */
  renew(): void {
    this.#writer.renew();
  }

  close(): Promise<void> {
    return this.#writer.close();
  }
}
