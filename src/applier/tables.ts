import type { CopyRequest } from "../core/documents.ts";
import type { CopyInfo, Piece } from "../core/message.ts";
import { formatTable } from "../core/table.ts";
import type { TableProgress, TableState } from "../core/target.ts";
import {
  type CopiedAs,
  copiedAs,
  isReplaced,
  nameCopy,
  withMark,
  withTarget,
} from "./copy-name.ts";
import type { SyncTable } from "./mapping.ts";

/** A request is written again after each chunk: it must not name thousands of tables each time. */
const ASKED_TABLES = 50;

/**
 * The tables of a sync on their way from pending over copying to live.
 *
 * - pending: changes are passed by; the copy, read later, will hold them.
 * - copying: chunks and changes are both applied, in stream order; a chunk is as of its place in
 *   the stream, so whichever comes later is right.
 *
 * A table whose columns, filter or transform are no longer those it was copied with is copied anew
 * over the rows that stand: it goes back to copying, not to pending, so that no delete is passed by. One that is
 * to go to another table of the target is new to the sync: nothing of it stands there. Where another table has taken the
 * place of the one that was copied into, nobody knows what of it stands: it is copied anew, too, passing no delete by.
 */
export class TableStates {
  readonly #tables = new Map<string, TableProgress>();
  #all: readonly TableProgress[] | null = null;
  #copying: readonly TableProgress[] | null = null;
  /** Counted up when a chunk was lost on the way; not stored: after a restart reading begins at the cursor anyway. */
  readonly #attempts = new Map<string, number>();
  readonly #wanted = new Map<string, CopiedAs>();
  readonly #fresh = new Set<string>();
  readonly #replaced = new Set<string>();
  readonly #binary: Set<string>;

  /** `binary`: source tables whose copies may come so. `marks`: by source table, see ApplierSession.markOf. */
  constructor(
    tables: readonly SyncTable[],
    stored: readonly TableProgress[],
    binary: ReadonlySet<string> = new Set(),
    marks: ReadonlyMap<string, string> = new Map(),
  ) {
    this.#binary = new Set(binary);
    const known = new Map(stored.map((entry) => [entry.table, entry]));
    for (const { source, bound, fingerprint } of tables) {
      const [target, mark] = [formatTable(bound.name), marks.get(source)];
      this.#wanted.set(source, { fingerprint, target, mark });
      this.#tables.set(source, this.#begin(source, known.get(source)));
    }
  }

  /** Source tables that are new to the sync, or to that table of the target. */
  get fresh(): ReadonlySet<string> {
    return this.#fresh;
  }

  /** Source tables in whose place another table of the target stands than the one that was copied into. */
  get replaced(): ReadonlySet<string> {
    return this.#replaced;
  }

  /** The same array while nothing has changed: there may be thousands of tables, and a commit every millisecond. */
  get all(): readonly TableProgress[] {
    this.#all ??= [...this.#tables.values()];
    return this.#all;
  }

  /** Those not live yet, in their order. */
  get copying(): readonly TableProgress[] {
    this.#copying ??= this.all.filter(({ state }) => state !== "live");
    return this.#copying;
  }

  get pending(): number {
    return this.copying.length;
  }

  /** Are changes of this table to be applied yet? */
  takesChanges(table: string): boolean {
    const state = this.#tables.get(table)?.state;
    return state === "copying" || state === "live";
  }

  /** Has any of the copy been applied? */
  #isBegun({ state, cursor }: TableProgress): boolean {
    return state === "live" || cursor !== null;
  }

  /** Did rows of it stand at the target, after the last commit and what was noted since? */
  hasRows(table: string): boolean {
    return this.#tables.get(table)?.hasRows ?? false;
  }

  noteRows(table: string, hasRows: boolean): void {
    const entry = this.#tables.get(table);
    if (entry !== undefined && entry.hasRows !== hasRows) this.#put({ ...entry, hasRows });
  }

  /** Those of which nothing was copied yet. */
  get unbegun(): readonly string[] {
    return this.copying.filter((entry) => !this.#isBegun(entry)).map(({ table }) => table);
  }

  /** Rows in binary are not to be asked for. */
  takeAsText(table: string): void {
    this.#binary.delete(table);
  }

  /** A change came that cannot be read as the sync now wants it: a copy begun after it will hold its row. */
  copyAnew(table: string): void {
    const entry = this.#tables.get(table);
    // Nothing of the copy was applied yet: it is still to be read.
    if (entry === undefined || !this.#isBegun(entry)) return;
    this.#put(this.#anew(entry));
  }

  /** What to ask the relay for next, parents first. It copies one table after the other. */
  requests(): CopyRequest[] {
    return this.copying.slice(0, ASKED_TABLES).map(({ table, copy, cursor }) => ({
      table,
      copy,
      attempt: this.#attempts.get(table) ?? 0,
      after: cursor,
      ...(this.#binary.has(table) && { binary: true }),
    }));
  }

  /**
   * Is this chunk the next one of its table's copy? Then it is, whichever attempt it belongs to: its
   * rows are as of its place in the stream. `lost`: the one it follows never came, or it came in binary and is wanted
   * as text. Chunks of other syncs or copies, and what is left of an earlier attempt, are passed by.
   */
  judge(copy: CopyInfo, binary = false): "next" | "lost" | "other" {
    const table = this.#tables.get(copy.table);
    if (table === undefined || table.state === "live" || table.copy !== copy.copy) return "other";
    if (copy.after === table.cursor && (!binary || this.#binary.has(copy.table))) return "next";
    return (this.#attempts.get(copy.table) ?? 0) === copy.attempt ? "lost" : "other";
  }

  /** Go back to the cursor: the relay is to read again from there. */
  retry(table: string): void {
    this.#attempts.set(table, (this.#attempts.get(table) ?? 0) + 1);
  }

  /** Nothing has come for long: what was asked, or what was sent, may be lost. */
  retryAll(): void {
    for (const { table } of this.requests()) this.retry(table);
  }

  #put(entry: TableProgress): void {
    this.#tables.set(entry.table, entry);
    this.#all = null;
    this.#copying = null;
  }

  #begin(table: string, stored: TableProgress | undefined): TableProgress {
    const wanted = this.#wantedOf(table);
    const copied = stored === undefined ? null : copiedAs(stored.copy);
    // An earlier version did not store where it had copied to: most likely to where it is to go now.
    const target = copied?.target ?? wanted.target;
    if (stored === undefined || target !== wanted.target) {
      this.#fresh.add(table);
      return this.#copied(table, "pending");
    }
    const { mark } = wanted;
    if (isReplaced(copied?.mark, mark)) this.#replaced.add(table);
    if (copied?.fingerprint !== wanted.fingerprint || this.#replaced.has(table)) {
      return this.#anew(stored);
    }
    const isTold = copied.target !== null || target === null;
    const copy = isTold ? stored.copy : withTarget(stored.copy, target);
    return { ...stored, copy: mark === undefined ? copy : withMark(copy, mark) };
  }

  #wantedOf(table: string): CopiedAs {
    return this.#wanted.get(table) ?? { fingerprint: "", target: null };
  }

  #copied(table: string, state: TableState): TableProgress {
    const copy = nameCopy(this.#wantedOf(table));
    return { table, state, cursor: null, copy, hasRows: false };
  }

  /** A table that waits for its first copy goes on waiting. */
  #anew({ table, state, hasRows }: TableProgress): TableProgress {
    return { ...this.#copied(table, state === "pending" ? "pending" : "copying"), hasRows };
  }

  /** Takes in a piece of the next chunk; the cursor moves with its last piece. */
  advance(copy: CopyInfo, piece: Piece): void {
    const table = this.#tables.get(copy.table);
    if (table === undefined) return;
    if (!piece.mark.last) this.#put({ ...table, state: "copying" });
    else this.#put({ ...table, cursor: copy.cursor, state: after(copy) });
  }
}

function after(copy: CopyInfo): "copying" | "live" {
  return copy.done ? "live" : "copying";
}
