import { sleep } from "../core/async.ts";
import { keys, type SyncStatus, UNKNOWN_SYNC } from "../core/documents.ts";
import type { TidemarkError } from "../core/errors.ts";
import { Hearing } from "../core/hearing.ts";
import type { Logger } from "../core/log.ts";
import { Pace } from "../core/pace.ts";
import { statusError } from "../core/status-error.ts";
import type { ApplierSession } from "../core/target.ts";
import { LatestWriter } from "./latest-writer.ts";
import type { ApplierOptions } from "./options.ts";

const BEAT_MS = 1_000;
/** A call of a function that lasts longer is told of. */
const LATE_MS = 30_000;
/** Likewise, of one that an end waits for. */
const LATE_AT_END_MS = 3_000;

/** How the applier of a sync is, and what of it is told on the queue. */
export class ToldStatus {
  readonly #writer: LatestWriter<SyncStatus>;
  readonly #hearing: Hearing;
  readonly #logger: Logger;
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
    this.#logger = logger;
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

  /**
   * A function may be long at work, and no lease tells meanwhile that somebody is. One that does not come back is told of:
   * nothing else would say what its sync, or the end that `ending` asks for, waits for.
   */
  async beat(signal: AbortSignal, session: Pick<ApplierSession, "late">, ending: AbortSignal) {
    let told: string | null = null;
    for (;;) {
      await sleep(BEAT_MS, signal);
      if (signal.aborted) return;
      const error = session.late?.(ending.aborted ? LATE_AT_END_MS : LATE_MS) ?? null;
      const what = error === null ? null : `${ending.aborted} ${error.message}`;
      if (what !== told) {
        told = what;
        this.report({ error: error === null ? null : statusError(error) });
        const doing = ending.aborted ? "the end waits for" : "waiting for";
        if (error !== null)
          this.#logger.warn({ err: error }, `${doing} a function that is a target`);
      } else if (performance.now() - this.#toldAt >= Pace.longestMs) this.report({});
    }
  }

  /** Resolves when what was told last is written, or was tried in vain. */
  close(): Promise<void> {
    return this.#writer.close();
  }
}
