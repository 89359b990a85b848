import type {
  Notice,
  ParkedAnswer,
  ParkedOrder,
  SyncStatus,
  TableStatus,
} from "../core/documents.ts";
import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { CopyInfo, Piece } from "../core/message.ts";
import type { ParkedRow } from "../core/parked.ts";
import { resyncCommand } from "../core/shell.ts";
import type { ApplierSession, Progress, TableProgress } from "../core/target.ts";
import { goneInto, isSameCopy } from "./copy-name.ts";
import { Group } from "./group.ts";
import { Inbox } from "./inbox.ts";
import { LayoutMappings } from "./layouts.ts";
import type { Lessons } from "./lessons.ts";
import type { RowEffect, SyncTable } from "./mapping.ts";
import type { ApplierOptions, ApplierParts } from "./options.ts";
import type { Parking } from "./parking.ts";
import { outlastRivals } from "./rivals.ts";
import { TableStates } from "./tables.ts";

/** Whole batches are joined into one target transaction up to about this many changes. */
const GROUP_CHANGES = 20_000;
/** And so many bytes: what is not committed cannot be trimmed, and the rest of a batch may wait for that room. */
const GROUP_BYTES = 8 * 1024 * 1024;

/** A copy of which nothing came for so long is asked for anew; doubled each time. */
const COPY_SILENCE_MS = 10_000;
const MAX_COPY_SILENCE_MS = 300_000;

/** Tables that a status names. */
const SHOWN_TABLES = 100;

/** Parked rows that are tried again in one transaction. */
const ORDERED_ROWS = 100;

/** What the lease holder does between two losses of its session. */
export class ApplierWork {
  readonly inbox: Inbox;
  readonly states: TableStates;
  readonly #options: ApplierOptions;
  readonly #session: ApplierSession;
  readonly #group: Group;
  readonly #parking: Parking | null;
  readonly #copied = new Map<string, { rows: number; estimate: number | null }>();
  #lastCommit: { readonly at: string; readonly lagMs: number } | null = null;
  /** Lower bound of the newest taken commit at the source, milliseconds since the epoch. */
  #committedAt: number | null = null;
  #changesApplied = 0;
  /** Copied rows among the changes of the open group. */
  #rowsTaken = 0;
  #dirty = false;
  #wantsNewAttempt = false;
  #chunkAt = performance.now();
  #copySilenceMs = COPY_SILENCE_MS;

  constructor(
    options: ApplierOptions,
    { session, progress, parking }: ApplierParts,
    lessons: Lessons,
  ) {
    this.#options = options;
    this.#session = session;
    this.inbox = new Inbox(options.sync, progress);
    const binary = options.tables
      .filter((table) => !lessons.isAsText(table.source) && mayComeInBinary(session, table))
      .map(({ source }) => source);
    const marks = options.tables.flatMap(({ source, bound }) => {
      const mark = session.markOf?.(bound);
      return mark === undefined ? [] : [[source, mark] as const];
    });
    this.states = new TableStates(options.tables, progress.tables, new Set(binary), new Map(marks));
    const { queue, from, tables, runBounds, logger } = options;
    const mappings = new LayoutMappings(queue.documents, from, progress.timeline, tables);
    const { states } = this;
    this.#parking = parking;
    this.#group = new Group(session, progress, {
      tables: parking === null ? tables : [...tables, parking.table],
      ...{ mappings, states, parking, postponeUpTo: lessons.postponeUpTo, runBounds, logger },
    });
  }

  get progress(): Progress {
    return this.#group.progress;
  }

  /** Has a transaction been begun at the target? */
  get open(): boolean {
    return this.#group.open;
  }

  /**
   * Stores the states of tables new to this sync, so that their copies keep their identity; before, `confirm` says that
   * the source is the right one: of another, all its tables may be new, and those of the right one gone. False when
   * that was not to be known. Throws TM-CONFIG-OVERLAP.
   */
  async begin(confirm: () => Promise<boolean>, signal: AbortSignal): Promise<boolean> {
    await this.#copyEmptied();
    const stored = new Map(this.progress.tables.map(({ table, copy }) => [table, copy]));
    const { all } = this.states;
    // What left the sync is forgotten at once: should it come back, it is copied anew.
    const isStored = all.every(({ table, copy }) => isSameCopy(stored.get(table), copy));
    if (all.length === stored.size && isStored) {
      // Of its tables none is new: nobody is to be told.
      if (this.#session.takesBinary !== undefined) await this.#noteStanding();
      // Names that tell more than those stored: were another table to come first, they would tell that one.
      const isTold = all.every(({ table, copy }) => stored.get(table) === copy);
      if (!isTold) await this.#group.commit(this.inbox);
      return true;
    }
    if (!(await confirm())) return false;
    if (!(await this.#disown(signal))) return false;
    await this.#noteStanding();
    await this.#group.commit(this.inbox);
    return true;
  }

  /**
   * A sync that has copied into a table which this one is to write must not take what stands there for its own any
   * more, should it ever go on. Before this one's states are stored: afterwards they are new to nobody.
   */
  async #disown(signal: AbortSignal): Promise<boolean> {
    const fresh = this.#options.tables.filter(({ source }) => this.states.fresh.has(source));
    const names = fresh.map(({ bound }) => bound.name);
    if (names.length === 0) return true;
    const find = async () => {
      const begun = (await this.#session.others()).filter(({ state }) => state !== "pending");
      return goneInto(begun, names);
    };
    if (!(await outlastRivals(this.#session, find, this.#options, signal))) return false;
    const copies = await find();
    if (copies.length === 0) return true;
    await this.#session.forget(copies);
    for (const { sync: other, table } of copies) {
      this.#options.logger.warn(
        { table, other },
        "another sync has copied into the same table of the target: should it go on, it copies the table anew",
      );
    }
    return true;
  }

  /**
   * A copy writes over the rows that stand, and nobody can tell whose the others are: they may be the application's own. Rows in
   * binary they would stand in the way of, table after table, and each time the session ends.
   */
  async #noteStanding(): Promise<void> {
    if (this.#session.mayHoldMore) return;
    const unbegun = new Set(this.states.unbegun);
    const tables = this.#options.tables.filter(
      ({ source, bound }) => unbegun.has(source) && bound.key.length > 0,
    );
    const empty = new Set(await this.#session.emptyOf(tables.map(({ bound }) => bound)));
    for (const { source, bound } of tables) {
      if (empty.has(bound)) continue;
      this.states.takeAsText(source);
      const isReplaced = this.states.replaced.has(source);
      if (!isReplaced && !this.states.fresh.has(source)) continue;
      const what = isReplaced
        ? "is another one than was copied into, and holds rows"
        : "holds rows already";
      this.#options.logger.warn(
        { table: source },
        `the target's table ${what}: its copy leaves those there that the source does not have; ${resyncCommand(source)} empties it first`,
      );
    }
  }

  /**
   * A table that was dropped at the target and made anew, by us or by somebody else, or emptied there,
   * has lost rows that no change will bring again. One that our own deletions left empty has lost none.
   */
  async #copyEmptied(): Promise<void> {
    const filled = this.#options.tables.filter(({ source }) => this.states.hasRows(source));
    const emptied = new Set(await this.#session.emptyOf(filled.map(({ bound }) => bound)));
    for (const { source, bound } of filled) {
      if (!emptied.has(bound)) continue;
      this.#options.logger.info({ table: source }, "the table is empty at the target: copying it");
      this.states.copyAnew(source);
      this.states.noteRows(source, false);
    }
  }

  /** A chunk was lost: the relay must be told to go back. Reading it clears it. */
  get wantsNewAttempt(): boolean {
    const wants = this.#wantsNewAttempt;
    this.#wantsNewAttempt = false;
    return wants;
  }

  /**
   * True when a copy has been silent for long and was begun another attempt at: a request or a chunk
   * may be lost in ways that nobody can see, and then both sides would wait for each other.
   */
  copyIsSilent(): boolean {
    const now = performance.now();
    if (this.states.pending === 0 || now - this.#chunkAt < this.#copySilenceMs) return false;
    this.#chunkAt = now;
    this.#copySilenceMs = Math.min(MAX_COPY_SILENCE_MS, this.#copySilenceMs * 2);
    this.states.retryAll();
    return true;
  }

  async take(piece: Piece): Promise<void> {
    if (!this.inbox.accept(piece)) return;
    if (piece.copy !== null) return this.#takeChunk(piece, piece.copy);
    this.#dirty = true;
    this.#committedAt = Date.parse(piece.header.committedAt);
    await this.#applying(this.#group.take(piece));
  }

  /** Commits at a boundary, unless more is at hand that may join. Null when it did not commit. */
  async commitIfDue(idle: boolean): Promise<Notice | null> {
    if (!this.#dirty || !this.inbox.atBoundary) return null;
    // Rows copied cost the target little more than their bytes.
    const changed = this.#group.changes - this.#rowsTaken;
    const mayGrow = changed < GROUP_CHANGES && this.#group.bytes < GROUP_BYTES;
    if (!idle && mayGrow) return null;
    const changes = this.#group.changes;
    await this.#applying(this.#group.commit(this.inbox));
    failpoint("committed");
    this.#dirty = false;
    this.#changesApplied += changes - this.#rowsTaken;
    this.#rowsTaken = 0;
    const now = Date.now();
    const lagMs = this.#committedAt === null ? 0 : Math.max(0, now - this.#committedAt);
    this.#lastCommit = { at: new Date(now).toISOString(), lagMs };
    return this.notice();
  }

  /** Has anything been taken that is not committed? */
  get dirty(): boolean {
    return this.#dirty;
  }

  /** Does with parked rows what is asked, between two batches. */
  async carryOut({ action, ids }: ParkedOrder): Promise<ParkedAnswer> {
    const [done, missing]: [string[], string[]] = [[], []];
    const failed: { id: string; message: string }[] = [];
    const parking = this.#parking;
    for (const id of ids ?? parking?.ids ?? []) {
      const parked = (await parking?.read(id)) ?? null;
      if (parking === null || parked === null) {
        missing.push(id);
        continue;
      }
      try {
        this.#group.add(action === "drop" ? parking.drop(parked) : this.#retry(parking, parked));
        done.push(id);
        // Rows may be large.
        if (done.length % ORDERED_ROWS === 0) await this.#group.commit(this.inbox);
      } catch (error) {
        if (!isTidemarkError(error, "TM-TRANSFORM-FAILED", "TM-FILTER-FAILED", "TM-USAGE"))
          throw error;
        failed.push({ id, message: error.message });
      }
    }
    await this.#group.commit(this.inbox);
    // Whoever asked takes it for done.
    await this.#session.flush();
    return { done, failed, missing };
  }

  #retry(parking: Parking, parked: ParkedRow): readonly RowEffect[] {
    const table = this.#options.tables.find(({ source }) => source === parked.table);
    if (table === undefined) {
      throw new TidemarkError("TM-USAGE", `${parked.table} is not in the sync any more.`);
    }
    if (parked.code === "TM-FILTER-FAILED") {
      throw new TidemarkError(
        parked.code,
        "Only the source can tell whether it passes `where`: mend the row there, or the condition.",
      );
    }
    return parking.retry(parked, table);
  }

  async rollback(): Promise<void> {
    await this.#group.rollback();
  }

  notice(): Notice {
    const { sync, from, fingerprint } = this.#options;
    const { timeline, position, hash } = this.progress;
    const { at, lagMs } = this.#lastCommit ?? { at: new Date().toISOString(), lagMs: 0 };
    const tablesPending = this.states.pending;
    const reached = { sync, source: from, timeline, position, hash };
    return { ...reached, at, lagMs, tablesPending, fingerprint };
  }

  statusNow(): Partial<SyncStatus> {
    return {
      state: this.states.pending > 0 ? "copying" : "running",
      position: this.progress.position,
      lagMs: this.#lastCommit?.lagMs ?? null,
      appliedAt: this.#lastCommit?.at ?? null,
      changesApplied: this.#changesApplied,
      rowsCopied: [...this.#copied.values()].reduce((sum, { rows }) => sum + rows, 0),
      parked: this.#parking?.count ?? 0,
      tableCount: this.states.all.length,
      tablesLive: this.states.all.length - this.states.pending,
      tables: this.#shownTables().map(({ table, state }) => this.#tableStatus(table, state)),
    };
  }

  /** A status is written every second. */
  #shownTables(): readonly TableProgress[] {
    const { all, copying } = this.states;
    if (all.length <= SHOWN_TABLES) return all;
    return [
      ...copying,
      ...all.filter(({ state }) => state === "live").slice(0, SHOWN_TABLES),
    ].slice(0, SHOWN_TABLES);
  }

  async #takeChunk(piece: Piece, copy: CopyInfo): Promise<void> {
    // The queue keeps chunks until all that copy tell that they are past them; it may be full of what is passed by here.
    if (piece.mark.last && this.states.pending > 0) this.#dirty = true;
    if (copy.sync !== this.#options.sync) return;
    const verdict = this.states.judge(copy, piece.lines?.binary);
    if (verdict === "next") {
      this.#chunkAt = performance.now();
      this.#copySilenceMs = COPY_SILENCE_MS;
      this.#dirty = true;
      await this.#applying(this.#group.take(piece));
      const known = this.#copied.get(copy.table)?.rows ?? 0;
      const rows = known + piece.count;
      this.#copied.set(copy.table, { rows, estimate: copy.estimatedRows });
      this.#rowsTaken += piece.count;
    } else if (verdict === "lost" && piece.mark.last) {
      this.states.retry(copy.table);
      this.#wantsNewAttempt = true;
    }
  }

  /** Time that the target takes is not silence. */
  async #applying(work: Promise<void>): Promise<void> {
    const startedAt = performance.now();
    await work;
    this.#chunkAt += performance.now() - startedAt;
  }

  #tableStatus(table: string, state: TableStatus["state"]): TableStatus {
    const copied = this.#copied.get(table);
    return {
      table,
      state,
      rowsCopied: copied?.rows ?? 0,
      estimatedRows: copied?.estimate ?? null,
    };
  }
}

/** Whole rows, which the target would take as they stand at the source. */
function mayComeInBinary(session: ApplierSession, { rule, bound, types }: SyncTable): boolean {
  const { where, filter, transform, columns, except } = rule;
  const areWhole = [where, filter, transform, columns, except].every((each) => each === undefined);
  return areWhole && session.takesBinary?.(bound, types) === true;
}
