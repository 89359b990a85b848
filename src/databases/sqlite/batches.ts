import { randomUUID } from "node:crypto";
import { setImmediate as breathe } from "node:timers/promises";
import { COPY_ANEW } from "../../core/altered.ts";
import { type Change, keyColumns } from "../../core/change.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import { batchHash, timelineHash } from "../../core/hash.ts";
import type { BatchHeader } from "../../core/position.ts";
import { rewound } from "../../core/rewound.ts";
import type { Batches, Chunk, ChunkRequest, Cut } from "../../core/source.ts";
import { type Cell, readCells } from "./cells.ts";
import { isKeyless, readChunk, readWhole } from "./chunk.ts";
import type { Connection } from "./connection.ts";
import { applyVerdicts, settleDisplaced, type Verdict } from "./displaced.ts";
import type { Guard } from "./guard.ts";
import { type Layouts, toChange, unreadChange } from "./layouts.ts";
import { LOG, logWidth } from "./ours.ts";
import type { BatchRecord, Records } from "./records.ts";
import { writeInTurns } from "./turns.ts";

const PAGE = { rows: 1_000, bytes: 1 << 20 };
const PURGE_ROWS = 1_000n;
/** So long a transaction deletes rows: a writer that comes meanwhile waits for it. */
const PURGE_HELD_MS = 10;
/** After it: a transaction of the application that was refused for its sake has time to be tried again. */
const PURGE_PAUSE_MS = 50;

/** What one snapshot of the file shows beyond the newest batch. */
interface Sight {
  readonly last: BatchRecord | undefined;
  readonly from: bigint;
  readonly to: bigint;
  /** When the row `to` was logged, as it has it. */
  readonly toAt: number;
  readonly changed: boolean;
  /** Is the number that AUTOINCREMENT goes by behind `to`? */
  readonly numberBehind: boolean;
  readonly verdicts: readonly Verdict[];
  readonly mend: boolean;
  readonly chunk: Chunk | null;
}

interface PurgeBound {
  readonly batch: bigint;
  /** Ids of the log. */
  readonly first: bigint;
  readonly last: bigint;
  /** The newest row that was cut, where it is purged with the others. */
  readonly hollow: bigint | null;
}

/**
 * SQLite has one writer at a time, so ids of the log are in commit order and a snapshot sees all of
 * them up to some id: a batch is a range of ids (reliability.md section 3).
 *
 * The snapshot is read first, without a lock on writers (in WAL mode); the range it showed is
 * recorded afterwards, in another file: nothing is written to the source's own unless the log itself must be. What was
 * committed in between has higher ids and belongs to the next batch.
 */
export class SqliteBatches implements Batches {
  readonly #connection: Connection;
  readonly #timeline: string;
  readonly #layouts: Layouts;
  readonly #guard: Guard;
  readonly #records: Records;
  readonly #openCopier: () => Promise<Connection>;
  #copier: Connection | null = null;
  /** The highest log id that a cut has looked at. */
  #seen = 0n;

  constructor(
    connection: Connection,
    timeline: string,
    parts: {
      readonly layouts: Layouts;
      readonly guard: Guard;
      readonly records: Records;
      readonly openCopier: () => Promise<Connection>;
    },
  ) {
    this.#connection = connection;
    this.#timeline = timeline;
    this.#layouts = parts.layouts;
    this.#guard = parts.guard;
    this.#records = parts.records;
    this.#openCopier = parts.openCopier;
  }

  get seen(): bigint {
    return this.#seen;
  }

  async last(): Promise<BatchHeader | null> {
    return this.#header(await this.#records.last());
  }

  async header(batch: number): Promise<BatchHeader | null> {
    return this.#header(await this.#records.find(batch));
  }

  async cut([request]: readonly ChunkRequest[] = []): Promise<Cut> {
    this.#connection.checkFile();
    this.#records.connection.checkFile();
    const last = await this.#records.last();
    const isWhole = request !== undefined && isKeyless(this.#layouts, request);
    const sight = await (isWhole
      ? this.#lookBeside(last, request)
      : this.#connection.read(() => this.#look(last, request)));
    const chunks = sight.chunk === null ? [] : [sight.chunk];
    this.#seen = sight.to;
    if (sight.mend) await this.#connection.write(() => this.#guard.mend());
    if (!sight.changed) return { header: null, pages: none(), chunks };
    const header = await this.#recordCut(sight);
    return { header, pages: this.pages(header.batch), chunks };
  }

  async *pages(batch: number): AsyncIterable<readonly Change[]> {
    const range = await this.#range(batch);
    for (let next = range.first_id; next <= range.last_id; ) {
      const page = await this.#connection.read(() => this.#page(next, range.last_id));
      next = page.next;
      if (page.changes.length > 0) yield page.changes;
      await breathe();
    }
  }

  async purge(upTo: number): Promise<void> {
    const bound = await this.#purgeBound(BigInt(upTo));
    if (bound === null) return;
    await this.#records.markPurged(bound.batch);
    failpoint("purge-half");
    const range = { start: bound.first, end: bound.last + 1n };
    await writeInTurns(this.#connection, range, (first) => this.#delete(first, bound), {
      ...{ heldMs: PURGE_HELD_MS, pauseMs: PURGE_PAUSE_MS, durable: false },
    });
  }

  /** Gives the id to go on with. */
  #delete(first: bigint, { last: end, hollow }: PurgeBound): bigint {
    const next = first + PURGE_ROWS;
    const last = next > end ? end : next - 1n;
    this.#connection.run(`DELETE FROM ${LOG} WHERE id BETWEEN ? AND ?`, first, last);
    if (hollow !== null && last === end) this.#hollow(hollow);
    return last + 1n;
  }

  /**
   * The newest row that was cut stays, without what it told: it is what tells that the records are of this log. And without
   * it the next id is what sqlite_sequence says alone, and programs that start their own numbers anew empty that: ids
   * that come again would be taken for what was cut already.
   */
  #hollow(id: bigint): void {
    const { keys, values } = logWidth(this.#connection);
    const cells = ["filters"];
    for (let i = 1; i <= keys; i++) cells.push(`k${i}`);
    for (let i = 1; i <= values; i++) cells.push(`c${i}`);
    const emptied = cells.map((cell) => `${cell} = NULL`).join(", ");
    this.#connection.run(`UPDATE ${LOG} SET op = '-', ${emptied} WHERE id = ?`, id);
  }

  #look(last: BatchRecord | undefined, request: ChunkRequest | undefined): Sight {
    const connection = this.#connection;
    const mend = this.#guard.check().length > 0;
    const given = connection.value("SELECT seq FROM sqlite_sequence WHERE name = ?", LOG);
    if (last !== undefined) this.#checkSame(last, given);
    const from = (last?.last_id ?? 0n) + 1n;
    const newest = connection.row<{ id: bigint; at: number }>(
      `SELECT id, at FROM ${LOG} ORDER BY id DESC LIMIT 1`,
    );
    const to = newest?.id ?? from - 1n;
    this.#checkWhole(from, to, given);
    const verdicts = settleDisplaced(connection, this.#layouts, from - 1n, to);
    const changed =
      verdicts.some(({ op }) => op === "d") ||
      connection.value(
        `SELECT 1 FROM ${LOG} WHERE id >= ? AND id <= ? AND op IN ('i', 'u', 'd', 'k') LIMIT 1`,
        from,
        to,
      ) === 1n;
    const chunk = request === undefined ? null : readChunk(connection, this.#layouts, request);
    const numberBehind = typeof given !== "bigint" || given < to;
    const toAt = newest?.at ?? 0;
    return { last, from, to, toAt, changed, numberBehind, verdicts, mend, chunk };
  }

  /**
   * As `#look`, with the chunk read on a connection of its own, whose snapshot stays open: nobody writes
   * while both look, so both see the same.
   */
  async #lookBeside(last: BatchRecord | undefined, request: ChunkRequest): Promise<Sight> {
    await this.close();
    const copier = await this.#openCopier();
    this.#copier = copier;
    const end = async () => {
      if (this.#copier === copier) this.#copier = null;
      await copier.close();
    };
    return this.#connection.write(() => {
      const sight = this.#look(last, undefined);
      copier.pin();
      return { ...sight, chunk: readWhole(copier, this.#layouts, request, end) };
    });
  }

  /** Leaves what is still being read. */
  async close(): Promise<void> {
    const copier = this.#copier;
    this.#copier = null;
    await copier?.close();
  }

  /** Is this the log of which the records tell? What was displaced is settled before it is sent: where it is not, that was undone. */
  #checkSame({ last_id: id, last_at: at }: BatchRecord, given: unknown): void {
    const found = this.#connection.value(`SELECT at FROM ${LOG} WHERE id = ?`, id);
    const unsettled = this.#connection.value(`SELECT min(id) FROM ${LOG} WHERE op = 'x'`);
    const isUnsettled = typeof unsettled === "bigint" && unsettled <= id;
    if (found === at && !isUnsettled) return;
    const isDeleted = found === undefined && typeof given === "bigint" && given >= id;
    if (isDeleted) throw this.#broken();
    throw rewound(
      `${this.#connection.name}: row ${isUnsettled ? unsettled : id} of ${LOG} is not the one that was sent: the file was restored to an earlier time.`,
      { id: String(isUnsettled ? unsettled : id) },
    );
  }

  /**
   * Ids begin at 1 and have no holes: a missing one was deleted by someone else, or the file went back in time. Of the newest ones
   * SQLite's own table tells which were given.
   */
  #checkWhole(from: bigint, to: bigint, given: unknown): void {
    const first = this.#connection.value(
      `SELECT id FROM ${LOG} WHERE id >= ? ORDER BY id LIMIT 1`,
      from,
    );
    const endIsGone = typeof given === "bigint" && given > to;
    if (endIsGone || to < from - 1n || (typeof first === "bigint" && first !== from)) {
      throw this.#broken();
    }
  }

  #broken(): TidemarkError {
    return new TidemarkError(
      "TM-CAPTURE-BROKEN",
      `${this.#connection.name}: rows of ${LOG} are missing: somebody deleted them, or restored ${this.#records.connection.path} to an earlier time without the file.`,
      { fix: COPY_ANEW },
    );
  }

  async #recordCut(sight: Sight): Promise<BatchHeader> {
    const { last } = sight;
    await this.#settle(sight);
    // What the application has committed must not be less durable than what tells that it was sent.
    this.#connection.syncLog();
    const n = (last?.n ?? 0n) + 1n;
    const prevHash = last?.hash ?? timelineHash(this.#timeline);
    const cutAt = new Date().toISOString();
    const definition = `${sight.from}-${sight.to} ${cutAt} ${randomUUID()}`;
    const committedAt = new Date((sight.toAt - JULIAN_EPOCH_DAY) * DAY_MS).toISOString();
    const record: BatchRecord = {
      n,
      prev_hash: prevHash,
      hash: batchHash(prevHash, Number(n), definition),
      definition,
      first_id: sight.from,
      last_id: sight.to,
      last_at: sight.toAt,
      cut_at: cutAt,
      committed_at: laterOf(committedAt, last?.cut_at ?? ""),
    };
    await this.#records.add(record, last);
    return this.#toHeader(record);
  }

  /** Before the batch is recorded; done again after a crash in between it is the same. */
  async #settle({ verdicts, numberBehind, to }: Sight): Promise<void> {
    if (verdicts.length === 0 && !numberBehind) return;
    await this.#connection.write(() => {
      applyVerdicts(this.#connection, this.#layouts, verdicts);
      if (numberBehind) this.#raiseSequence(to);
    });
  }

  /**
   * A statement that ends half way (OR FAIL, RAISE(FAIL)) leaves what its triggers have logged, but not in the table that
   * AUTOINCREMENT goes by: once those rows are purged, their ids would be given again, to rows that no cut looks for.
   */
  #raiseSequence(id: bigint): void {
    this.#connection.run(
      "UPDATE sqlite_sequence SET seq = ? WHERE name = ? AND seq < ?",
      ...[id, LOG, id],
    );
    this.#connection.run(
      "INSERT INTO sqlite_sequence (name, seq) SELECT ?, ? WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = ?)",
      ...[LOG, id, LOG],
    );
  }

  async #range(batch: number): Promise<BatchRecord> {
    const record = await this.#records.find(batch);
    if (record !== undefined && Number(await this.#records.purged()) < batch) return record;
    throw new TidemarkError(
      "TM-BATCH-PURGED",
      `${this.#connection.name}: the changes of batch ${batch} are no longer in the change log.`,
      { details: { batch } },
    );
  }

  #page(first: bigint, last: bigint): { changes: Change[]; next: bigint } {
    const width = logWidth(this.#connection);
    const cells = ["id", "op", "layout", "filters", "origin"];
    for (let i = 1; i <= width.keys; i++) cells.push(`k${i}`);
    for (let i = 1; i <= width.values; i++) cells.push(`c${i}`);
    const from = `FROM ${LOG} WHERE id >= ? AND id <= ? ORDER BY id LIMIT ${PAGE.rows + 1}`;
    const page = readCells(this.#connection, { cells, from }, [first, last], PAGE);
    let next = first;
    const changes: Change[] = [];
    for (const row of page.rows) {
      if (row[0] !== next) throw this.#broken();
      next++;
      const change = this.#change(row, width.keys);
      if (change !== null) changes.push(change);
    }
    if (!page.cut && next !== last + 1n) throw this.#broken();
    return { changes, next };
  }

  #change(row: readonly Cell[], keyWidth: number): Change | null {
    const [, op, layoutId, filters = null, origin = null] = row;
    const layout = this.#layouts.get(Number(layoutId));
    const values = 5 + keyWidth;
    const logged = {
      op: String(op),
      layout,
      filters,
      origin,
      keys: row.slice(5, 5 + keyColumns(layout).length),
      values: row.slice(values, values + layout.columns.length),
    };
    try {
      return toChange(logged);
    } catch (error) {
      const isNobodys = !this.#guard.watches(layout.table.name);
      if (!isNobodys || !isTidemarkError(error, "TM-VALUE-REFUSED")) throw error;
      return unreadChange(layout);
    }
  }

  /** What may go, and which log rows that is: also those that a purge cut short has left behind. */
  async #purgeBound(upTo: bigint): Promise<PurgeBound | null> {
    const connection = this.#connection;
    const newest = await this.#records.last();
    if (newest === undefined) return null;
    const batch = upTo < newest.n ? upTo : newest.n;
    const hollow = batch === newest.n ? newest.last_id : null;
    const kept = (await this.#records.firstIdAfter(batch)) ?? newest.last_id;
    const last = kept - 1n;
    const first = await connection.peek(() =>
      connection.value(`SELECT id FROM ${LOG} ORDER BY id LIMIT 1`),
    );
    const nothing = typeof first !== "bigint" || first > last;
    if (nothing && (await this.#records.purged()) >= batch) return null;
    return { batch, first: typeof first === "bigint" ? first : last + 1n, last, hollow };
  }

  #header(record: BatchRecord | undefined): BatchHeader | null {
    return record === undefined ? null : this.#toHeader(record);
  }

  #toHeader(record: BatchRecord): BatchHeader {
    return {
      timeline: this.#timeline,
      batch: Number(record.n),
      hash: record.hash,
      prevHash: record.prev_hash,
      cutAt: record.cut_at,
      committedAt: record.committed_at,
    };
  }
}

const DAY_MS = 86_400_000;
const JULIAN_EPOCH_DAY = 2_440_587.5;

function laterOf(a: string, b: string): string {
  return a > b ? a : b;
}

async function* none(): AsyncGenerator<readonly Change[]> {}
