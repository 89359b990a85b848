import { sleep } from "../core/async.ts";
import { keys, type SyncStatus, UNKNOWN_SYNC } from "../core/documents.ts";
import type { TidemarkError } from "../core/errors.ts";
import { Hearing } from "../core/hearing.ts";
import { Pace } from "../core/pace.ts";
import { statusError } from "../core/status-error.ts";
import { LatestWriter } from "./latest-writer.ts";
import type { ApplierOptions } from "./options.ts";

const BEAT_MS = 1_000;

/** How the applier of a sync is, and what of it is told on the queue. */
export class ToldStatus {
  readonly #writer: LatestWriter<SyncStatus>;
  readonly #hearing: Hearing;
  #now: SyncStatus;
  /** By this process's own clock, which nobody sets back. */
  #toldAt = performance.now();

  constructor({
    sync: name,
    from,
    to,
    queue: { documents },
    logger,
  }: Pick<ApplierOptions, "sync" | "from" | "to" | "queue" | "logger">) {
    const key = keys.applier(name);
    this.#writer = new LatestWriter((status) => documents.put(key, status), key, logger);
    this.#hearing = new Hearing(documents, key);
    this.#now = { ...UNKNOWN_SYNC, name, from, to };
  }

  get now(): SyncStatus {
    return this.#now;
  }

  /** Told in the background, as a sign of life. */
  report(change: Partial<SyncStatus>): void {
    const heartbeatAt = new Date().toISOString();
    this.note({ ...change, heartbeatAt });
    this.#hearing.told(heartbeatAt);
    this.#toldAt = performance.now();
    this.#writer.put(this.#now);
  }

  /** For who may have lost the lease: whoever has it by now tells how the sync is. */
  async reportUnlessOther(change: Partial<SyncStatus>): Promise<void> {
    if (await this.#hearing.isOther()) this.note(change);
    else this.report(change);
  }

  /** Is told with the next report. */
  note(change: Partial<SyncStatus>): void {
    this.#now = { ...this.#now, ...change };
  }

  /** A standby that cannot go on says nothing of the applier that works, nor of another project's that has its name. */
  async reportStopped(error: TidemarkError): Promise<void> {
    if (this.#now.state === "standby" || error.code === "TM-NAME-TAKEN") return;
    if (this.#hearing.hasTold && (await this.#hearing.isOther())) return;
    this.report({ state: "stopped", error: statusError(error) });
  }

  /** A function may be long at work, and no lease tells meanwhile that somebody is. */
  async beat(signal: AbortSignal): Promise<void> {
    for (;;) {
      await sleep(BEAT_MS, signal);
      if (signal.aborted) return;
      if (performance.now() - this.#toldAt >= Pace.longestMs) this.report({});
    }
  }

  /** Resolves when what was told last is written, or was tried in vain. */
  close(): Promise<void> {
    return this.#writer.close();
  }
}
