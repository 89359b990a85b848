import type { TableProgress } from "../../../src/core/target.ts";
import type { History } from "./oracle.ts";
import { ANY, FILTERED, keyAside, PARKED } from "./shapes.ts";
import type { TargetState } from "./target-server.ts";

/** Since when a row is set aside no more, although nothing can be told of it. */
interface Drop {
  readonly batch: number;
  /** Of the table: another one brings the row again. */
  readonly copy: string;
}

const NONE: ReadonlyMap<string, Drop> = new Map();

/** What people have dropped of the rows that one target has set aside: they lack, until they change again. */
export class Drops {
  readonly #history: History;
  /** Ids that were to be dropped, if only some time later; null among them: all. */
  readonly #asked = new Set<string | null>();
  /** By key. A target that loses a commit has not dropped what it dropped with it. */
  readonly #standing = new WeakMap<TargetState, ReadonlyMap<string, Drop>>();
  /** By id, as it stood before it was taken out last. */
  readonly #takenOut = new Map<string, string>();

  constructor(history: History) {
    this.#history = history;
  }

  /** Call before the order can be seen. */
  asked(ids: readonly string[] | null): void {
    for (const id of ids ?? [null]) this.#asked.add(id);
  }

  /** Gives the keys of rows that were dropped between two states of the target. */
  committed(before: TargetState, next: TargetState): readonly string[] {
    const { batch } = next.progress.position;
    const state = next.progress.tables.find(({ table }) => table === FILTERED);
    const standing = new Map<string, Drop>();
    for (const [key, drop] of this.#standing.get(before) ?? NONE) {
      const isSame = drop.copy === state?.copy && !this.#history.hasLogged(key, drop.batch, batch);
      if (isSame) standing.set(key, drop);
    }
    this.#standing.set(next, standing);
    // Orders are carried out between two batches.
    if (before.progress.position.batch !== batch || state === undefined) return [];
    const truth = this.#history.asOf(batch)?.get(FILTERED);
    // What can be told by now was overtaken.
    const isAside = (key: string) => truth === undefined || truth.get(key) === ANY;
    const dropped = this.#takeOut(before, next).filter(
      (key) => isAside(key) && isCopied(state, key),
    );
    for (const key of dropped) standing.set(key, { batch, copy: state.copy });
    return dropped;
  }

  /** Those of which nothing needs to be set aside. */
  lacking(state: TargetState): (key: string) => boolean {
    const standing = this.#standing.get(state) ?? NONE;
    return (key) => standing.has(key);
  }

  /** The first of what was told to be done that the target could still lose; null for none. */
  notDurable(done: readonly string[], { tables }: TargetState): string | null {
    const isThere = (id: string) => {
      const row = tables.get(PARKED)?.get(id);
      return row !== undefined && row === this.#takenOut.get(id);
    };
    return done.find(isThere) ?? null;
  }

  /** Gives the keys of those that were to be. */
  #takeOut(before: TargetState, next: TargetState): readonly string[] {
    const left = next.tables.get(PARKED);
    const gone = [...(before.tables.get(PARKED) ?? [])].filter(([id]) => left?.has(id) !== true);
    for (const [id, row] of gone) this.#takenOut.set(id, row);
    const wereAsked = gone.filter(([id]) => this.#asked.has(null) || this.#asked.has(id));
    return wereAsked.map(([, row]) => keyAside(row));
  }
}

/** Of a row that is still to be copied the copy tells again that nothing can be told; one that came behind its end is not. */
function isCopied({ state, cursor }: TableProgress, key: string): boolean {
  if (state === "live") return true;
  if (cursor === null) return false;
  const { after, upper } = JSON.parse(cursor) as { after: string; upper: string };
  return key <= after || key > upper;
}
