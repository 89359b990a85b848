import { copiedAs } from "../../../src/applier/copy-name.ts";
import type { Delivery } from "../../../src/core/definition.ts";
import type { ParkedAnswer } from "../../../src/core/documents.ts";
import { comparePositions, type Position } from "../../../src/core/position.ts";
import type { Progress, TableProgress } from "../../../src/core/target.ts";
import type { Drops } from "./drops.ts";
import { ALTERED, ANY, aside, FILTERED, MORE, PARKED, standingAside, WITH_MORE } from "./shapes.ts";
import type { TargetState } from "./target-server.ts";

/** Rows of one table: key to value. */
export type Rows = ReadonlyMap<string, string>;
export type Tables = ReadonlyMap<string, Rows>;

/** How often each kind of thing has happened. */
export class Counters {
  readonly #counts = new Map<string, number>();

  add(what: string, times = 1): void {
    this.#counts.set(what, (this.#counts.get(what) ?? 0) + times);
  }

  get all(): ReadonlyMap<string, number> {
    return this.#counts;
  }
}

/** The source's history as it truly was, which no worker sees: what everything is judged by. */
export interface History {
  /** The tables as of a batch: all that its cut saw. Null before the first. */
  asOf(batch: number): Tables | null;
  /** How many transactions had been committed when the batch was cut. */
  commitsIn(batch: number): number;
  /** Has a batch after the one, up to the other, brought a change of this row of {@link FILTERED}? */
  hasLogged(key: string, after: number, upTo: number): boolean;
}

/** Judges what the workers do to the target, the queue and the log, at the moment they do it. */
export class Oracle {
  readonly violations: string[] = [];
  readonly #history: History;
  readonly #now: () => number;

  constructor(history: History, now: () => number) {
    this.#history = history;
    this.#now = now;
  }

  violated(what: string): void {
    this.violations.push(`at ${this.#now().toFixed(1)} ms: ${what}`);
  }

  /** G2, G3: progress goes on by whole batches, and each row is as the source had it then; it tells which tables have any. */
  committed(before: TargetState, after: TargetState, drops: Drops): void {
    const { progress: next, tables } = after;
    const { position } = before.progress;
    if (comparePositions(next.position, position) < 0) {
      this.violated(`progress went back from ${place(position)} to ${place(next.position)}`);
    }
    for (const key of drops.committed(before, after)) {
      const [was, is] = [before, after].map((state) => state.tables.get(FILTERED)?.get(key));
      if (was !== is) this.violated(`dropping what was set aside of ${key} has changed its row`);
    }
    for (const { table, hasRows } of next.tables) {
      if (hasRows === (tables.get(table)?.size ?? 0) > 0) continue;
      this.violated(`progress says ${hasRows ? "rows" : "no rows"} of ${table}, which is not so`);
    }
    this.#judgeRows(after, drops, () => true);
  }

  /** As {@link committed}, of a function: progress is to be stored, and it is rightly said what it has been handed by then. */
  stored(
    before: Progress,
    after: TargetState,
    drops: Drops,
    isCertain: (table: string) => boolean,
  ): void {
    const { position } = after.progress;
    if (comparePositions(position, before.position) < 0) {
      this.violated(`progress went back from ${place(before.position)} to ${place(position)}`);
    }
    this.#judgeRows(after, drops, isCertain);
  }

  /** A function is handed what comes after the progress that is stored. */
  delivered({ timeline, position }: Delivery, stored: Progress | null): void {
    if (stored === null) return;
    const goesOn = timeline === stored.timeline && comparePositions(position, stored.position) >= 0;
    if (goesOn) return;
    this.violated(`a function was handed ${place(position)}, behind ${place(stored.position)}`);
  }

  #judgeRows(after: TargetState, drops: Drops, isCertain: (table: string) => boolean): void {
    const { progress: next, tables } = after;
    const truth = this.#history.asOf(next.position.batch);
    if (truth === null) return;
    for (const each of next.tables) {
      const { table, state, cursor } = each;
      if (!isCertain(table)) continue;
      if (state === "pending" || (state === "copying" && cursor === null)) continue;
      const isCopied = state === "live" ? () => true : copiedBy(cursor as string);
      const name = hasMore(each) ? WITH_MORE : table;
      const wrong = difference(truth.get(name), tables.get(table), isCopied);
      if (wrong !== null) this.violated(`${table} as of ${place(next.position)} ${wrong}`);
      const notAside =
        state === "live" && table === FILTERED
          ? parkedDifference(truth, tables, drops.lacking(after))
          : null;
      if (notAside !== null) this.violated(`parked as of ${place(next.position)} ${notAside}`);
    }
  }

  /** G4, G5: what is told is durable at the target. */
  noticed(position: Position, durable: Position): void {
    if (comparePositions(position, durable) <= 0) return;
    this.violated(`a notice tells ${place(position)}, durable is ${place(durable)}`);
  }

  /** What people are told to be done with rows set aside is durable at the target. */
  answered({ done }: ParkedAnswer, drops: Drops, durable: TargetState): void {
    const id = drops.notDurable(done, durable);
    if (id !== null) this.violated(`an order is told to be done that can be lost: of ${id}`);
  }

  /** G5, G7: what is purged no target can need again; or it was given up for the bound, and told so. */
  purged(upTo: number, { batch }: Position, toldToCopy: boolean): void {
    if (upTo <= batch || toldToCopy) return;
    this.violated(`batch ${upTo} was purged, the target holds only ${batch}`);
  }

  /** G4: whoever waited can read what was committed before. */
  waited(commits: number, progress: Progress, isAltered: boolean): void {
    const isLive = (each: TableProgress) =>
      each.state === "live" && (!isAltered || each.table !== ALTERED || hasMore(each));
    const live = progress.tables.length > 0 && progress.tables.every(isLive);
    const readable = this.#history.commitsIn(progress.position.batch);
    if (live && readable >= commits) return;
    const state = live ? `${readable} commits can be read` : "a table is not there yet";
    this.violated(`a wait for ${commits} commits ended when ${state}`);
  }
}

const NO_ROWS: Rows = new Map();

/** Null when they are equal. */
export function difference(
  truth: Rows | undefined,
  found: Rows | undefined,
  concerns: (key: string) => boolean = () => true,
): string | null {
  for (const [key, should] of truth ?? NO_ROWS) {
    const is = found?.get(key);
    if (is === should || should === ANY || !concerns(key)) continue;
    return `holds ${is ?? "nothing"} under ${key}, not ${should}`;
  }
  for (const [key, is] of found ?? NO_ROWS) {
    if (truth?.has(key) !== true && concerns(key)) return `holds ${is} under ${key}, not nothing`;
  }
  return null;
}

/** G1: what could not be told of a row is set aside, unless people have dropped it since; and nothing else is. */
export function parkedDifference(
  truth: Tables,
  found: Tables,
  mayLack: (key: string) => boolean,
): string | null {
  const should = aside(truth.get(FILTERED));
  const is = standingAside(found.get(PARKED));
  for (const key of new Set([...should.keys(), ...is.keys()])) {
    if (is.has(key) && !should.has(key)) return `holds ${key}`;
    if (!is.has(key) && should.has(key) && !mayLack(key)) return `lacks ${key}`;
  }
  return null;
}

/** Was it copied, or is it, with the column more? */
function hasMore({ copy }: TableProgress): boolean {
  return copiedAs(copy).fingerprint === MORE;
}

function copiedBy(cursor: string): (key: string) => boolean {
  const { after } = JSON.parse(cursor) as { after: string };
  return (key) => key <= after;
}

function place({ batch, chunk }: Position): string {
  return chunk === 0 ? `batch ${batch}` : `batch ${batch}, chunk ${chunk}`;
}
