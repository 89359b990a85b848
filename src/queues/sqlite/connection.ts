import { sleep } from "../../core/async.ts";
import { TidemarkError } from "../../core/errors.ts";
import { queueClosed } from "../../core/queue.ts";
import { QueueDatabase } from "./database.ts";
import { isBusy, toQueueError } from "./errors.ts";
import { bodyReferences } from "./messages.ts";
import { Poller } from "./poller.ts";
import { announce, register, type Topic, unregister, Wakeup } from "./wakeup.ts";

/** How long another process may hold the write lock. Ours hold it for milliseconds. */
const BUSY_TIMEOUT_MS = 10_000;
/** Bytes one transaction takes in: bounds how long a commit blocks the event loop. */
const TRANSACTION_BYTES = 4 * 1024 * 1024;
/** A transaction of so few is quickly read by those it wakes. */
const SMALL_BYTES = 64 * 1024;
/** How often a waiting process makes sure that its file is still there. */
const IDENTITY_CHECK_MS = 500;

interface Job {
  readonly topic: Topic | null;
  readonly bytes: number;
  /** Runs inside the transaction; gives what settles the caller once it is durable. */
  attempt(database: QueueDatabase): () => void;
  fail(error: TidemarkError): void;
}

/**
 * A queue file as one Queue uses it: reads at once, writes in groups. Writes asked for in one turn
 * of the event loop are one transaction. Readers are woken when it is committed; whoever wrote goes
 * on when it is on disk as well (docs/decisions/0011-visible-before-durable.md).
 */
export class QueueConnection {
  readonly path: string;
  readonly wakeup = new Wakeup();
  readonly #closing = new AbortController();
  readonly #jobs: Job[] = [];
  #database: QueueDatabase;
  #generation = 0;
  #flushing: Promise<void> | null = null;
  /** Committed, not known durable. */
  readonly #unsettled = new Set<Promise<void>>();
  readonly #poller: Poller;
  #seenVersion: number;
  #nextIdentityCheck = 0;
  #closed: Promise<void> | null = null;

  constructor(path: string) {
    this.path = path;
    try {
      this.#database = new QueueDatabase(path);
      this.#seenVersion = this.#database.dataVersion;
      this.#database.bodies.removeOrphans(() => bodyReferences(this.#database));
    } catch (error) {
      throw toQueueError(error, path);
    }
    this.#poller = new Poller(
      `${path}-wal`,
      () => this.#look(),
      () => this.wakeup.awaited,
    );
    register(path, this.wakeup);
  }

  /** Aborts when the queue is closed: ends every reader and watcher. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** Counts how often the file was found deleted or replaced; what was known of the old one is void. */
  get generation(): number {
    return this.#generation;
  }

  async read<T>(work: (database: QueueDatabase) => T): Promise<T> {
    const deadline = performance.now() + BUSY_TIMEOUT_MS;
    for (let attempt = 0; ; attempt++) {
      this.#refuseClosed();
      try {
        this.#reopenWhenReplaced();
        return work(this.#database);
      } catch (error) {
        await this.#waitWhileBusy(error, attempt, deadline);
      }
    }
  }

  /**
   * Runs `work` in a transaction; resolves when it is on disk. `topic`: who is to be woken. `bytes`: about
   * what it writes.
   */
  write<T>(topic: Topic | null, bytes: number, work: (database: QueueDatabase) => T): Promise<T> {
    return new Promise((resolve, reject) => {
      const attempt = (database: QueueDatabase) => {
        const result = work(database);
        return () => resolve(result);
      };
      this.#jobs.push({ topic, bytes, attempt, fail: reject });
      this.#flushing ??= this.#flush();
    });
  }

  /** Waits for a commit of anybody after `seen` (a `wakeup.version` read before looking), or the signal. */
  async changed(topic: Topic, seen: number, signal: AbortSignal): Promise<void> {
    const waiting = this.wakeup.wait(topic, seen, signal);
    if (this.wakeup.awaited) this.#poller.start();
    await waiting;
  }

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    await this.#flushing;
    await Promise.all(this.#unsettled);
    this.#closing.abort();
    this.#poller.stop();
    unregister(this.path, this.wakeup);
    await this.#database.close();
  }

  async #flush(): Promise<void> {
    // Everything asked for in this turn of the event loop joins the group.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#jobs.length > 0) await this.#commitGroup();
    this.#flushing = null;
  }

  async #commitGroup(): Promise<void> {
    const failGroup = (error: unknown) => {
      const coded = this.#coded(error);
      for (const job of this.#takeGroup()) job.fail(coded);
    };
    const deadline = performance.now() + BUSY_TIMEOUT_MS;
    for (let attempt = 0; ; attempt++) {
      try {
        this.#refuseClosed();
        this.#reopenWhenReplaced();
        this.#database.begin();
        break;
      } catch (error) {
        try {
          await this.#waitWhileBusy(error, attempt, deadline);
        } catch (final) {
          return failGroup(final);
        }
      }
    }
    this.#runGroup(this.#takeGroup());
    await new Promise((resolve) => setImmediate(resolve));
  }

  /** From begin to commit without a break: no other statement of this connection may fall in between. */
  #runGroup(group: readonly Job[]): void {
    const settle: (() => void)[] = [];
    try {
      for (const job of group) settle.push(this.#runJob(job));
      this.#database.commit();
    } catch (error) {
      this.#database.rollback();
      const coded = this.#coded(error);
      for (const job of group) job.fail(coded);
      return;
    }
    announce(this.path, new Set(group.flatMap(({ topic }) => topic ?? [])));
    const settling = this.#settle(group, settle);
    this.#unsettled.add(settling);
    void settling.finally(() => this.#unsettled.delete(settling));
  }

  async #settle(group: readonly Job[], settle: readonly (() => void)[]): Promise<void> {
    const database = this.#database;
    try {
      // Waking the thread that syncs may cost this one its turn: first those who were woken to read. Of
      // large messages the next one waits for the sync.
      const bytes = group.reduce((sum, job) => sum + job.bytes, 0);
      if (bytes < SMALL_BYTES) await new Promise((resolve) => setImmediate(resolve));
      await database.synced();
      for (const each of settle) each();
    } catch (error) {
      const coded = this.#coded(error);
      for (const job of group) job.fail(coded);
    }
  }

  /** One caller's failure must not undo the work of the others in the group. */
  #runJob(job: Job): () => void {
    const database = this.#database;
    database.execute("SAVEPOINT job");
    try {
      const settle = job.attempt(database);
      database.execute("RELEASE job");
      return settle;
    } catch (error) {
      // A full disk takes the whole transaction with it: then all have failed.
      if (!database.undo("job")) throw error;
      return () => job.fail(this.#coded(error));
    }
  }

  #takeGroup(): Job[] {
    let bytes = 0;
    let count = 0;
    for (const job of this.#jobs) {
      bytes += job.bytes;
      if (count > 0 && bytes > TRANSACTION_BYTES) break;
      count++;
    }
    return this.#jobs.splice(0, count);
  }

  /** Throws what waiting does not mend. */
  async #waitWhileBusy(error: unknown, attempt: number, deadline: number): Promise<void> {
    if (!isBusy(error) || performance.now() > deadline) throw this.#coded(error);
    await sleep(Math.random() * Math.min(20, 2 + attempt), this.closed);
  }

  /**
   * Somebody deleted the file (or the folder) while we had it open: we would go on in a file that
   * no other process can see. The queue is never the only copy, so an empty one is a good start.
   */
  #reopenWhenReplaced(): void {
    if (this.#database.isCurrent) return;
    const fresh = new QueueDatabase(this.path);
    this.#closeLost(this.#database);
    this.#database = fresh;
    this.#seenVersion = fresh.dataVersion;
    this.#generation++;
    this.#poller.restart();
    this.wakeup.signal(null);
  }

  #closeLost(database: QueueDatabase): void {
    // Nobody needs it any more, so nobody needs to know.
    const closing = database.close().catch(() => {});
    this.#unsettled.add(closing);
    void closing.finally(() => this.#unsettled.delete(closing));
  }

  /** Has anybody else committed since the last look? Wakes our readers if so. */
  #look(): boolean {
    try {
      if (performance.now() > this.#nextIdentityCheck) {
        this.#nextIdentityCheck = performance.now() + IDENTITY_CHECK_MS;
        this.#reopenWhenReplaced();
      }
      const version = this.#database.dataVersion;
      if (version === this.#seenVersion) return false;
      this.#seenVersion = version;
      this.wakeup.signal(null);
      return true;
    } catch (error) {
      // A reader that is woken meets a lasting error itself, and throws it to its caller.
      if (!isBusy(error)) this.wakeup.signal(null);
      return false;
    }
  }

  /** What has a code was met in opening the file that stands there now: of the one before it tells nothing. */
  #coded(error: unknown): TidemarkError {
    return error instanceof TidemarkError ? error : this.#database.coded(error);
  }

  #refuseClosed(): void {
    if (this.closed.aborted) throw queueClosed();
  }
}
