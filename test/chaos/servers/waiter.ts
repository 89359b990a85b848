// Somebody who waits, again and again, and looks whether the end of a wait told the truth (G4); beside it somebody
// who follows the notices, which must never go back.
import { backoff, sleep } from "../../../src/core/async.ts";
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { keys, type Notice } from "../../../src/core/documents.ts";
import { toTidemarkError } from "../../../src/core/errors.ts";
import { silentLogger } from "../../../src/core/log.ts";
import type { Queue } from "../../../src/core/queue.ts";
import { openQueue } from "../../../src/pipeline/queue.ts";
import { waitForSync } from "../../../src/pipeline/wait.ts";
import type { FreshDatabase } from "../../servers/index.ts";
import { isTransient, type SqlRow, withSql } from "../../support/sql-client.ts";

const PAUSE_MS = 300;

interface Waiting {
  /** As nobody is in the way. */
  readonly definition: PipelineDefinition;
  readonly source: FreshDatabase;
  readonly target: FreshDatabase;
}

export class Waiter {
  readonly violations = new Set<string>();
  /** Those that ended. */
  waits = 0;
  notices = 0;
  readonly #parts: Waiting;
  readonly #queue: Queue;
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  static async start(parts: Waiting): Promise<Waiter> {
    return new Waiter(parts, await openQueue(parts.definition.queue, silentLogger));
  }

  private constructor(parts: Waiting, queue: Queue) {
    this.#parts = parts;
    this.#queue = queue;
    this.#running = Promise.all([
      this.#again(() => this.#wait()),
      this.#again(() => this.#follow()),
    ]);
    this.#running.catch(() => {});
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
    await this.#queue.close();
  }

  /** Until it is stopped, through losses of servers and queue. */
  async #again(once: () => Promise<void>): Promise<void> {
    const { signal } = this.#stop;
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

  async #wait(): Promise<void> {
    const { definition, source, target } = this.#parts;
    const before = await withSql(source, (sql) => sql.rows(LENGTHS));
    await waitForSync(definition, this.#queue, { signal: this.#stop.signal });
    const after = lengthsOf(await untilRead(target));
    this.waits++;
    for (const [list, length] of lengthsOf(before)) {
      const read = after.get(list) ?? 0;
      if (read >= length) continue;
      this.violations.add(
        `a wait ended early: list ${list} had ${length} entries, ${read} can be read`,
      );
    }
    await sleep(PAUSE_MS, this.#stop.signal);
  }

  async #follow(): Promise<void> {
    const [sync] = this.#parts.definition.syncs;
    const key = keys.progress(sync?.name ?? "");
    let newest: Notice | null = null;
    for await (const { value } of this.#queue.documents.watch(key, this.#stop.signal)) {
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
}

const LENGTHS = "SELECT id, length FROM heads";

function lengthsOf(rows: readonly SqlRow[]): ReadonlyMap<string, number> {
  return new Map(rows.map(({ id, length }) => [id ?? "", Number(length)]));
}

/** What a notice told stays true, so it may be read later. */
async function untilRead(target: FreshDatabase): Promise<readonly SqlRow[]> {
  for (;;) {
    try {
      return await withSql(target, (sql) => sql.rows(LENGTHS));
    } catch (error) {
      if (!isTransient(error)) throw error;
      await sleep(100);
    }
  }
}
