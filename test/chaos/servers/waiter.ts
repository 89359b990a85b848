// Somebody who waits, again and again, and looks whether the end of a wait told the truth (G4); beside it somebody
// who follows the notices, which must never go back. What a wait has promised stays true ever after.
import { backoff, sleep } from "../../../src/core/async.ts";
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { keys, type Notice } from "../../../src/core/documents.ts";
import { toTidemarkError } from "../../../src/core/errors.ts";
import type { Queue } from "../../../src/core/queue.ts";
import { waitForSync } from "../../../src/pipeline/wait.ts";
import { isTransient, type SqlClient, type SqlRow } from "../../support/sql-client.ts";
import type { Side } from "./clients.ts";
import { openPatiently } from "./patient-queue.ts";

const PAUSE_MS = 300;
const OPENING_MS = 60_000;

interface Waiting {
  /** As nobody is in the way. */
  readonly definition: PipelineDefinition;
  readonly open: (side: Side) => Promise<SqlClient>;
}

export class Waiter {
  readonly violations = new Set<string>();
  /** Those that ended. */
  waits = 0;
  notices = 0;
  readonly #parts: Waiting;
  /** By list: what the end of some wait has promised. */
  readonly #promised = new Map<string, number>();
  #going: { readonly stop: AbortController; readonly ended: Promise<unknown> } | null = null;

  constructor(parts: Waiting) {
    this.#parts = parts;
  }

  /** Also after it was stopped. */
  async start(): Promise<void> {
    const stop = new AbortController();
    const { signal } = stop;
    const queue = await openPatiently(this.#parts.definition, AbortSignal.timeout(OPENING_MS));
    const ended = Promise.all([
      this.#again(() => this.#wait(queue, signal), signal),
      this.#again(() => this.#follow(queue, signal), signal),
    ]).finally(() => queue.close());
    ended.catch(() => {}); // thrown by stop()
    this.#going = { stop, ended };
  }

  async stop(): Promise<void> {
    this.#going?.stop.abort();
    await this.#going?.ended;
    this.#going = null;
  }

  /** Looks whether the target holds what was promised. */
  async expectKept(when: string): Promise<void> {
    const promised = [...this.#promised];
    const lengths = await this.#untilRead("target");
    for (const [list, length] of promised) {
      const read = lengths.get(list) ?? 0;
      if (read >= length) continue;
      this.violations.add(
        `${when} list ${list} has ${read} entries at the target, a wait had promised ${length}`,
      );
    }
  }

  /** Until it is stopped, through losses of servers and queue. */
  async #again(once: () => Promise<void>, signal: AbortSignal): Promise<void> {
    for (let attempt = 0; !signal.aborted; attempt++) {
      try {
        await once();
        attempt = 0;
      } catch (error) {
        if (signal.aborted) return;
        const known = toTidemarkError(error);
        if (!isTransient(error) && !known.retryable) {
          this.violations.add(`a wait or the notices ended with ${known.code}: ${known.message}`);
        }
        await sleep(backoff(attempt), signal);
      }
    }
  }

  async #wait(queue: Queue, signal: AbortSignal): Promise<void> {
    const before = await this.#lengths("source");
    await waitForSync(this.#parts.definition, queue, { signal });
    for (const [list, length] of before) {
      this.#promised.set(list, Math.max(length, this.#promised.get(list) ?? 0));
    }
    await this.expectKept("after a wait");
    this.waits++;
    await sleep(PAUSE_MS, signal);
  }

  async #follow(queue: Queue, signal: AbortSignal): Promise<void> {
    const [sync] = this.#parts.definition.syncs;
    const key = keys.progress(sync?.name ?? "");
    let newest: Notice | null = null;
    for await (const { value } of queue.documents.watch(key, signal)) {
      const notice = value as Notice | null;
      if (notice === null) continue;
      this.notices++;
      const back = newest !== null && notice.position.batch < newest.position.batch;
      if (back && notice.timeline === newest?.timeline) {
        const [from, to] = [newest.position.batch, notice.position.batch];
        this.violations.add(`a notice went back from batch ${from} to ${to}`);
      }
      newest = notice;
    }
  }

  async #lengths(side: Side): Promise<ReadonlyMap<string, number>> {
    await using sql = await this.#parts.open(side);
    return lengthsOf(await sql.rows(LENGTHS));
  }

  /** What a notice told stays true, so it may be read later. */
  async #untilRead(side: Side): Promise<ReadonlyMap<string, number>> {
    for (;;) {
      try {
        return await this.#lengths(side);
      } catch (error) {
        if (!isTransient(error)) throw error;
        await sleep(100);
      }
    }
  }
}

const LENGTHS = "SELECT id, length FROM heads";

function lengthsOf(rows: readonly SqlRow[]): ReadonlyMap<string, number> {
  return new Map(rows.map(({ id, length }) => [id ?? "", Number(length)]));
}
