import { type Change, isUnread } from "../core/change.ts";
import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import { failpoint } from "../core/failpoint.ts";
import type { Logger } from "../core/log.ts";
import type { CopyInfo, Piece } from "../core/message.ts";
import { decodeLines, type RowLines } from "../core/row-lines.ts";
import type { ApplierSession, BoundTable, Progress, TargetTransaction } from "../core/target.ts";
import {
  applyEffect,
  changesKeyless,
  commitAtOnce,
  mayTakeAlong,
  movesReferredKeys,
} from "./apply.ts";
import { GoneKeys } from "./gone-keys.ts";
import type { Inbox } from "./inbox.ts";
import type { LayoutMappings } from "./layouts.ts";
import { appliedAgain, askedAsText } from "./lessons.ts";
import { LinesRun } from "./lines-run.ts";
import type { RowEffect, SyncTable } from "./mapping.ts";
import { NetEffect } from "./net-effect.ts";
import type { Parking } from "./parking.ts";
import { BOUNDS, type RunBounds } from "./run-bounds.ts";
import { StandingRows } from "./standing-rows.ts";
import type { TableStates } from "./tables.ts";

/** Of a run of so many bytes, one row alone maybe, no second is taken in while the target applies it. */
const WIDE_BYTES = 4 * 1024 * 1024;

/**
 * The batches being applied in one target transaction. The transaction is begun with the first
 * run of changes, so a small group costs begin, its statements and commit, in a row.
 */
export class Group {
  readonly #session: ApplierSession;
  readonly #tables: readonly SyncTable[];
  readonly #mappings: LayoutMappings;
  readonly #states: TableStates;
  readonly #parking: Parking | null;
  readonly #standing: StandingRows;
  /** Foreign keys are checked at the end of a group up to this batch; see {@link appliedAgain}. */
  readonly #postponeUpTo: number;
  readonly #runBounds: RunBounds | undefined;
  #progress: Progress;
  #postponing = false;
  readonly #touched = new Set<BoundTable>();
  readonly #gone = new GoneKeys();
  readonly #logger: Logger;
  /** Of the piece taken last. */
  #batch = 0;
  #transaction: TargetTransaction | null = null;
  #effect = new NetEffect();
  /** Rows as lines that are just being written. */
  #run: LinesRun | null = null;
  /** Does the target take such? Found out with the first of them. */
  #opensLines = true;
  /** The runs before this one, which the target applies while it is taken in: the last, and the one before that. */
  #applying: Promise<void> = Promise.resolve();
  #applyingBefore: Promise<void> = Promise.resolve();
  #changes = 0;
  /** Of the pieces in the effect, and of all since the last commit. */
  #bytes = 0;
  #bytesTaken = 0;

  constructor(
    session: ApplierSession,
    progress: Progress,
    parts: {
      readonly tables: readonly SyncTable[];
      readonly mappings: LayoutMappings;
      readonly states: TableStates;
      readonly parking: Parking | null;
      readonly postponeUpTo: number;
      readonly runBounds: RunBounds | undefined;
      readonly logger: Logger;
    },
  ) {
    this.#session = session;
    this.#progress = progress;
    this.#tables = parts.tables;
    this.#mappings = parts.mappings;
    this.#states = parts.states;
    this.#parking = parts.parking;
    this.#standing = new StandingRows(parts.states);
    this.#postponeUpTo = parts.postponeUpTo;
    this.#runBounds = parts.runBounds;
    this.#logger = parts.logger;
  }

  /** Has a transaction been begun at the target? */
  get open(): boolean {
    return this.#transaction !== null;
  }

  /** Changes taken since the last commit. */
  get changes(): number {
    return this.#changes;
  }

  /** Bytes of messages taken since the last commit. */
  get bytes(): number {
    return this.#bytesTaken;
  }

  get progress(): Progress {
    return this.#progress;
  }

  /** Takes a piece of a batch, or of a chunk meant for this sync. */
  async take(piece: Piece): Promise<void> {
    const { copy } = piece;
    this.#batch = piece.header.batch;
    // The first chunk turns the table to "copying" before the changes that follow it are judged.
    if (copy !== null) this.#states.advance(copy, piece);
    if (copy !== null && copy.after === null && piece.mark.piece === 0)
      await this.#clearFirst(copy);
    this.#bytesTaken += piece.bytes;
    if (piece.lines !== null && (await this.#takeLines(piece.lines))) return;
    await this.#endRun();
    if (piece.lines?.binary) throw askedAsText(this.#tableOf(piece.lines));
    await this.#takeChanges(piece.changes, copy !== null);
    this.#bytes += piece.bytes;
    if (this.#bytes >= this.#bounds.bytes) await this.#flush(piece.mark.last);
  }

  /** Effects that no change of the source brings. */
  add(effects: readonly RowEffect[]): void {
    for (const effect of effects) this.#effect.add(effect);
  }

  /**
   * A table without a key is copied whole, each time anew: what stands would be doubled. And where nobody knows what
   * stands, only what comes may be left.
   */
  async #clearFirst(copy: CopyInfo): Promise<void> {
    const table = this.#tables.find(({ source }) => source === copy.table);
    if (table === undefined) return;
    if (table.key.length > 0 && this.#session.mayHoldMore !== true) return;
    await this.#endRun();
    const nothing = { gone: [], row: null, moved: false, fresh: false };
    this.#effect.add({ table, clear: true, ...nothing });
  }

  async #takeChanges(changes: readonly Change[], areCopied: boolean): Promise<void> {
    for (const change of changes) {
      let mapping = this.#mappings.known(change.layout);
      if (mapping === undefined) mapping = await this.#mappings.lookUp(change.layout);
      if (mapping === null) continue;
      if (!areCopied && !this.#states.takesChanges(mapping.table.source)) continue;
      if (mapping.incomplete && areCopied) throw mapping.outdated();
      const isLost = mapping.incomplete && (change.row !== null || mapping.isKeyless);
      if (isUnread(change) || isLost) this.#states.copyAnew(mapping.table.source);
      const { table } = mapping;
      const parking = this.#parking;
      if (parking === null || parking.ignores(table)) {
        this.#add(mapping.effectOf(change), areCopied);
      } else {
        const effects = parking.effectsOf(mapping, change, this.#batch);
        for (const effect of effects) this.#add(effect, areCopied);
      }
      this.#changes++;
      if (this.#effect.size >= this.#bounds.changes) await this.#flush(false);
    }
  }

  #add(effect: RowEffect, isCopied: boolean): void {
    this.#effect.add(isCopied ? effect : inPlace(effect));
  }

  /** Hands rows on as they are, where they need no look. False: they are to be taken one by one. */
  async #takeLines(lines: RowLines): Promise<boolean> {
    const known = this.#mappings.known(lines.layout);
    const mapping = known === undefined ? await this.#mappings.lookUp(lines.layout) : known;
    if (mapping === null) return true;
    if (!mapping.isPlain || lines.filtered) return false;
    const { bound } = mapping.table;
    const areCopied = lines.insertedBy === undefined;
    if (!areCopied && !this.#states.takesChanges(mapping.table.source)) return true;
    mapping.assertKey();
    if (!areCopied && !this.#mayPassBy(mapping.table)) return false;
    if (this.#run?.takes(bound, lines) !== true) {
      await this.#endRun();
      // What a transaction of the source keeps only at its end is applied together, as far as there is room.
      if (!areCopied && this.#effect.size > 0) return false;
      // What came before is applied before.
      const transaction = await this.#flush(areCopied);
      await this.#applying;
      this.#opensLines = transaction.openLines !== undefined;
      this.#run = await LinesRun.open(transaction, bound, lines);
      if (this.#run === null) return false;
    }
    await this.#run.take(lines);
    this.#standing.noteAdded(mapping.table, lines.rows);
    this.#touched.add(bound);
    this.#changes += lines.rows;
    return true;
  }

  /**
   * May rows of a batch be written by themselves? Not where a foreign key of the target changes other rows: one that
   * goes here and comes back behind the rows would be gone for a while. And not where constraints have objected
   * to a part of the batch before, or no other way would be left if they did.
   */
  #mayPassBy(table: SyncTable): boolean {
    if (!this.#opensLines) return false;
    if (this.#parking !== null && !this.#parking.ignores(table)) return false;
    const { relaxed, postponed } = this.#modes();
    if (relaxed || postponed || this.#transaction?.enforcing === false) return false;
    return !this.#tables.some(({ bound }) => bound.cascades || bound.followed);
  }

  /** Nothing else may be done at the target before. */
  async #endRun(): Promise<void> {
    const run = this.#run;
    this.#run = null;
    for (const lines of (await run?.end()) ?? []) {
      this.#changes -= lines.rows;
      if (lines.binary) throw askedAsText(this.#tableOf(lines));
      await this.#takeChanges(decodeLines(lines), lines.insertedBy === undefined);
    }
  }

  /** The source table. Whoever tried to take the lines has looked it up. */
  #tableOf({ layout }: RowLines): string | undefined {
    return this.#mappings.known(layout)?.table.source;
  }

  /** Commits everything taken, and progress up to where the inbox stands. */
  async commit(inbox: Inbox): Promise<void> {
    if (this.#transaction !== null || !(await this.#commitAtOnce(inbox))) {
      const transaction = await this.#flush(true);
      await this.#applying;
      if (this.#postponing) await transaction.verify([...this.#touched]);
      await this.#standing.settle(this.#session);
      const next = this.#next(inbox);
      failpoint("commit-due");
      await transaction.commit(next);
      this.#progress = next;
    }
    this.#transaction = null;
    this.#changes = 0;
    this.#bytesTaken = 0;
    this.#touched.clear();
    this.#gone.clear();
  }

  get #isSecond(): boolean {
    return this.#progress.position.batch < this.#postponeUpTo;
  }

  get #bounds(): RunBounds {
    const bounds = this.#runBounds ?? BOUNDS;
    return (this.#isSecond ? bounds.second : undefined) ?? bounds;
  }

  #next({ position, hash }: Inbox): Progress {
    const { timeline } = this.#progress;
    return { timeline, position, hash, tables: this.#states.all };
  }

  async rollback(): Promise<void> {
    const transaction = this.#transaction;
    this.#transaction = null;
    this.#run = null;
    // Whoever rolls back knows an error already.
    await this.#applying.catch(() => {});
    await transaction?.rollback();
  }

  /** False when there is more to it, or a constraint objects: then group by group, as ever. */
  async #commitAtOnce(inbox: Inbox): Promise<boolean> {
    const transaction = await this.#begin();
    this.#transaction = transaction;
    this.#standing.note(this.#effect);
    const mayFinish = !this.#postponing && !this.#standing.inDoubt;
    if (transaction.finish === undefined || !mayFinish) return false;
    const next = this.#next(inbox);
    const work = { effect: this.#effect, tables: this.#tables, next };
    const done = await commitAtOnce(transaction.finish, transaction, work);
    this.#transaction = null;
    if (!done) return false;
    this.#progress = next;
    this.#effect = new NetEffect();
    this.#bytes = 0;
    return true;
  }

  /**
   * Hands the run to the target, behind the one that it is at, if it takes one there. `whole`: nothing more of the
   * batches in it is to come.
   */
  async #flush(whole: boolean): Promise<TargetTransaction> {
    await this.#endRun();
    this.#transaction ??= await this.#begin();
    // Not one that would only wait there.
    await (this.#transaction.attemptBehind ? this.#applyingBefore : this.#applying);
    if (this.#effect.size > 0) {
      this.#standing.note(this.#effect);
      this.#applyingBefore = this.#applying;
      this.#applying = this.#apply(this.#transaction, this.#effect, whole);
      // Seen by whoever comes next.
      this.#applying.catch(() => {});
      this.#effect = new NetEffect();
      if (this.#bytes >= WIDE_BYTES) await this.#applying;
    }
    this.#bytes = 0;
    return this.#transaction;
  }

  #carriesOn(effect: NetEffect): boolean {
    return movesReferredKeys(effect) || changesKeyless(effect, this.#tables);
  }

  /**
   * Has a row that comes back taken others along, that may stay at the source? Then the batch is applied again without
   * foreign keys. Where they cannot be put off it is not: mostly the source has carried the deletion on as well, and
   * only it can tell.
   */
  #tookAlong(effect: NetEffect): boolean {
    const table = this.#gone.returningTo(effect);
    if (table === null) return false;
    if (!this.#postponing && !this.#modes().relaxed) return true;
    this.#logger.warn(
      { table: table.source, batch: this.#batch },
      "rows were deleted and came back in one large batch, and a foreign key of the target has taken along what refers to them: if the source has kept that, resync the tables that refer to this one",
    );
    return false;
  }

  #begin(): Promise<TargetTransaction> {
    const modes = this.#modes();
    this.#postponing = modes.postponed;
    return this.#session.begin(this.#progress, modes);
  }

  #modes(): { readonly relaxed: boolean; readonly postponed: boolean } {
    // While a copy is under way parents may be missing that it will bring.
    const relaxed = this.#states.pending > 0 || this.#progress.tables.some(isNotLive);
    return { relaxed, postponed: !relaxed && this.#isSecond };
  }

  async #apply(transaction: TargetTransaction, effect: NetEffect, whole: boolean): Promise<void> {
    const batch = this.#batch;
    const before = this.#applyingBefore;
    for (const { table } of effect.tables) this.#touched.add(table.bound);
    try {
      // What still refers to the keys given up, or is to follow, may be among the changes to come.
      const carriesOn = (!whole && this.#carriesOn(effect)) || this.#tookAlong(effect);
      if (whole) this.#gone.clear();
      else if (transaction.enforcing) this.#gone.note(effect, this.#tables);
      if (transaction.enforcing && carriesOn) {
        await before;
        throw tooLarge();
      }
      await applyEffect(transaction, effect, this.#tables, before);
    } catch (error) {
      if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT")) throw error;
      // A chunk stands by itself: more together would not help.
      if (this.#isSecond || batch <= this.#progress.position.batch) throw error;
      throw appliedAgain(batch, error);
    }
  }
}

/**
 * SQLite's REPLACE is logged as an insert: the row of the same key that it removed is to go first, since what
 * follows changes of its columns would take an update for one.
 */
function inPlace(effect: RowEffect): RowEffect {
  const { fresh, row } = effect;
  const { bound } = effect.table;
  if (!fresh || row === null || !mayTakeAlong(bound) || bound.key.length === 0) return effect;
  const key = bound.key.map((index) => row[index] ?? null);
  return { ...effect, gone: [...effect.gone, key] };
}

function tooLarge(): TidemarkError {
  return new TidemarkError(
    "TM-APPLY-CONSTRAINT",
    "A large batch changes or deletes rows that a foreign key of the target carries on to others: to rows that stay, or whose own change, still to come, would not find them any more.",
    {
      fix: "Let the applier put foreign keys off: see docs/errors/TM-APPLY-CONSTRAINT.md.",
    },
  );
}

function isNotLive({ state }: Progress["tables"][number]): boolean {
  return state !== "live";
}
