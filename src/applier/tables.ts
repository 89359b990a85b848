import { randomUUID } from "node:crypto";
import type { CopyRequest } from "../core/documents.ts";
import type { CopyInfo, Piece } from "../core/message.ts";
import type { TableProgress } from "../core/target.ts";
import type { SyncTable } from "./mapping.ts";

/**
 * The tables of a sync on their way from pending over copying to live.
 *
 * - pending: changes are passed by; the copy, read later, will hold them.
 * - copying: chunks and changes are both applied, in stream order; a chunk is as of its place in
 *   the stream, so whichever comes later is right.
 */
export class TableStates {
  readonly #tables = new Map<string, TableProgress>();
  /** Counted up when a chunk was lost on the way; not stored: after a restart reading begins at the cursor anyway. */
  readonly #attempts = new Map<string, number>();

  constructor(tables: readonly SyncTable[], stored: readonly TableProgress[]) {
    const known = new Map(stored.map((entry) => [entry.table, entry]));
    for (const { source } of tables) this.#tables.set(source, known.get(source) ?? fresh(source));
  }

  get all(): readonly TableProgress[] {
    return [...this.#tables.values()];
  }

  get pending(): number {
    return this.all.filter(({ state }) => state !== "live").length;
  }

  /** Are changes of this table to be applied yet? */
  takesChanges(table: string): boolean {
    const state = this.#tables.get(table)?.state;
    return state === "copying" || state === "live";
  }

  /** What to ask the relay for, parents first. */
  requests(): CopyRequest[] {
    return this.all
      .filter(({ state }) => state !== "live")
      .map(({ table, copy, cursor }) => ({
        table,
        copy,
        attempt: this.#attempts.get(table) ?? 0,
        after: cursor,
      }));
  }

  /**
   * Is this chunk the next one of its table's copy? Then it is, whichever attempt it belongs to: its
   * rows are as of its place in the stream. `lost`: the one it follows never came. Chunks of other
   * syncs or copies, and what is left of an earlier attempt, are passed by.
   */
  judge(copy: CopyInfo): "next" | "lost" | "other" {
    const table = this.#tables.get(copy.table);
    if (table === undefined || table.state === "live" || table.copy !== copy.copy) return "other";
    if (copy.after === table.cursor) return "next";
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

  /** Takes in a piece of the next chunk; the cursor moves with its last piece. */
  advance(copy: CopyInfo, piece: Piece): void {
    const table = this.#tables.get(copy.table);
    if (table === undefined) return;
    if (!piece.mark.last) this.#tables.set(copy.table, { ...table, state: "copying" });
    else this.#tables.set(copy.table, { ...table, cursor: copy.cursor, state: after(copy) });
  }
}

function after(copy: CopyInfo): "copying" | "live" {
  return copy.done ? "live" : "copying";
}

function fresh(table: string): TableProgress {
  return { table, state: "pending", cursor: null, copy: randomUUID() };
}
