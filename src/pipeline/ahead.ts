import { after, sleep } from "../core/async.ts";
import type { Catalog, Identified } from "../core/database.ts";
import type { Source } from "../core/source.ts";
import type { Target } from "../core/target.ts";
import type { Databases } from "./connect.ts";

/** So long what was given back waits for who asks next: a start asks at once. */
const KEPT_MS = 3_000;
/** And so old it may be: an address may be led to another server, which who asks again and again is to meet. */
const MOST_AGE_MS = 10_000;
/** One that has not said by then that it is still there is not waited for: to open another takes less. */
const ANSWER_WITHIN_MS = 3_000;
/** So long a server that may not answer any more is told of the end of what nobody took. */
const CLOSE_WITHIN_MS = 1_000;

interface Openable extends Identified {
  close(): Promise<void>;
}

interface Opening<T> {
  readonly opened: Promise<T>;
  /** Was it used before? The server may have ended it since. */
  readonly isKept: boolean;
  /** Unless it is open. */
  readonly giveUp: () => void;
}

interface ShelfOptions<T> {
  readonly open: (name: string, signal?: AbortSignal) => Promise<T>;
  /** Not of a file: to open it may be to make it. */
  readonly hasAddress: (name: string) => boolean;
  readonly keeps: ReadonlySet<string>;
}

/** What is open of one kind, by the name of the database. Who takes it, closes it. */
class Shelf<T extends Openable> implements AsyncDisposable {
  readonly #options: ShelfOptions<T>;
  readonly #openings = new Map<string, Opening<T>>();
  readonly #closing = new Set<Promise<void>>();
  /** What ends each, whatever it waits for. */
  readonly #ends = new WeakMap<T, AbortController>();
  /** When what is in use was met first. */
  readonly #born = new WeakMap<T, number>();
  #isDisposed = false;

  constructor(options: ShelfOptions<T>) {
    this.#options = options;
  }

  /** Who asks for it next is told what is wrong; of what nobody asks for nothing is told. */
  begin(name: string): void {
    if (this.#openings.has(name) || !this.#options.hasAddress(name)) return;
    const end = new AbortController();
    let isOpen = false;
    const opened = this.open(name, undefined, end);
    opened.then(
      () => {
        isOpen = true;
      },
      // It is told to who asks.
      () => {},
    );
    const giveUp = () => {
      if (!isOpen) end.abort();
    };
    this.#openings.set(name, { opened, isKept: false, giveUp });
  }

  /** `signal` ends it, too. */
  async open(name: string, signal?: AbortSignal, end = new AbortController()): Promise<T> {
    const { open } = this.#options;
    const opened = await open(name, signal ? AbortSignal.any([end.signal, signal]) : end.signal);
    this.#ends.set(opened, end);
    return opened;
  }

  async take(name: string, open = () => this.open(name)): Promise<T> {
    const opening = this.#openings.get(name);
    if (opening === undefined) return open();
    this.#openings.delete(name);
    if (!opening.isKept) return opening.opened;
    const kept = await opening.opened;
    if (await isThere(kept)) return kept;
    this.#ends.get(kept)?.abort();
    await kept.close().catch(() => {});
    return open();
  }

  /** What was used without an error is given back, for who takes it next. */
  async use<R>(name: string, work: (opened: T) => Promise<R>, opening?: Promise<T>): Promise<R> {
    const opened = await (opening ?? this.take(name));
    if (!this.#born.has(opened)) this.#born.set(opened, performance.now());
    let isKept = false;
    try {
      const result = await work(opened);
      isKept = this.#keep(name, opened);
      return result;
    } finally {
      if (!isKept) await opened.close();
    }
  }

  keeps(name: string): boolean {
    const { keeps, hasAddress } = this.#options;
    return !this.#isDisposed && keeps.has(name) && hasAddress(name);
  }

  /** Ends what was begun and not taken, also where it is not let in yet. */
  endBegun(): void {
    for (const [name, { isKept }] of this.#openings) if (!isKept) this.#end(name);
  }

  /** Nothing is kept after this, or open but what was taken. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#isDisposed = true;
    for (const name of this.#openings.keys()) this.#end(name);
    await Promise.all(this.#closing);
  }

  #keep(name: string, used: T): boolean {
    if (!this.keeps(name) || this.#openings.has(name)) return false;
    if (performance.now() - (this.#born.get(used) ?? 0) > MOST_AGE_MS) return false;
    const opening = { opened: Promise.resolve(used), isKept: true, giveUp: () => {} };
    this.#openings.set(name, opening);
    const late = () => {
      if (this.#openings.get(name) === opening) this.#end(name);
    };
    setTimeout(late, KEPT_MS).unref();
    return true;
  }

  #end(name: string): void {
    const opening = this.#openings.get(name);
    this.#openings.delete(name);
    if (opening === undefined) return;
    opening.giveUp();
    const closed = opening.opened.then((opened) => this.#close(opened)).catch(() => {});
    this.#closing.add(closed);
    void closed.then(() => this.#closing.delete(closed));
  }

  async #close(opened: T): Promise<void> {
    const cancel = after(CLOSE_WITHIN_MS, () => this.#ends.get(opened)?.abort());
    try {
      await opened.close();
    } finally {
      cancel();
    }
  }
}

async function isThere(kept: Identified): Promise<boolean> {
  const told = kept.identity().then(
    () => true,
    () => false,
  );
  const settled = new AbortController();
  const late = sleep(ANSWER_WITHIN_MS, settled.signal).then(() => false);
  try {
    return await Promise.race([told, late]);
  } finally {
    settled.abort();
  }
}

/**
 * Connections that are made while others are at work, and those that one look leaves for the next: where servers are far
 * away a start spends most of its time in being let in, and a session's first questions take the server longest. Only
 * sessions are kept, no answers: each look asks anew.
 */
export class Ahead implements AsyncDisposable {
  /** To look at tables with, or for the timeline that a relay is about to begin. */
  readonly catalogs: Shelf<Catalog>;
  /** To plan with, or for an applier. */
  readonly targets: Shelf<Target>;
  readonly sources: Shelf<Source>;

  /** `keeps`: databases of which sessions are left for the next. */
  constructor(databases: Databases, keeps: ReadonlySet<string> = new Set()) {
    const common = { hasAddress: (name: string) => databases.hasAddress(name), keeps };
    this.catalogs = new Shelf({
      ...common,
      open: (name, signal) => databases.openCatalog(name, signal),
    });
    this.targets = new Shelf({
      ...common,
      open: (name, signal) => databases.openTarget(name, null, signal),
    });
    this.sources = new Shelf({
      ...common,
      open: (name, signal) => databases.openSource(name, signal),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const all = [this.catalogs, this.targets, this.sources];
    await Promise.all(all.map((each) => each[Symbol.asyncDispose]()));
  }
}
