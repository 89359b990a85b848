import { randomUUID } from "node:crypto";
import { setImmediate as breathe } from "node:timers/promises";
import { COPY_ANEW } from "../../core/altered.ts";
import { type Change, keyColumns } from "../../core/change.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import { batchHash, timelineHash } from "../../core/hash.ts";
import type { BatchHeader } from "../../core/position.ts";
import type { Batches, Chunk, ChunkRequest, Cut } from "../../core/source.ts";
import { type Cell, readCells } from "./cells.ts";
import { isKeyless, readChunk, readWhole } from "./chunk.ts";
import type { Connection } from "./connection.ts";
import { applyVerdicts, settleDisplaced, type Verdict } from "./displaced.ts";
import type { Guard } from "./guard.ts";
import { type Layouts, toChange, unreadChange } from "./layouts.ts";
import { HOLLOW, LOG, logWidth } from "./ours.ts";

const PAGE = { rows: 1_000, bytes: 1 << 20 };
/** Rows deleted in one transaction: a writer that comes meanwhile waits a millisecond or two. */
const PURGE_ROWS = 1_000;

interface BatchRecord {
  readonly n: bigint;
  readonly prev_hash: string;
  readonly hash: string;
  readonly first_id: bigint;
  readonly last_id: bigint;
  readonly cut_at: string;
  readonly committed_at: string;
}

/** What one snapshot of the file shows beyond the newest batch. */
interface Sight {
  readonly last: BatchRecord | undefined;
  readonly from: bigint;
  readonly to: bigint;
  readonly changed: boolean;
  readonly lastAt: number;
  readonly verdicts: readonly Verdict[];
  readonly mend: boolean;
  readonly chunk: Chunk | null;
}

/**
 * SQLite has one writer at a time, so ids of the log are in commit order and a snapshot sees all of
 * them up to some id: a batch is a range of ids (reliability.md section 3).
 *
 * The snapshot is read first, without a lock on writers (in WAL mode); the range it showed is
 * recorded afterwards in a transaction of one row. What was committed in between has higher ids and
 * belongs to the next batch.
 */
export class SqliteBatches implements Batches {
  readonly #connection: Connection;
  readonly #timeline: string;
  readonly #layouts: Layouts;
  readonly #guard: Guard;
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
      readonly openCopier: () => Promise<Connection>;
    },
  ) {
    this.#connection = connection;
    this.#timeline = timeline;
    this.#layouts = parts.layouts;
    this.#guard = parts.guard;
    this.#openCopier = parts.openCopier;
  }

  get seen(): bigint {
    return this.#seen;
  }

  async last(): Promise<BatchHeader | null> {
    return this.#connection.read(() => this.#header(this.#lastRecord()));
  }

  async header(batch: number): Promise<BatchHeader | null> {
    return this.#connection.read(() => this.#header(this.#record(batch)));
  }

  async cut([request]: readonly ChunkRequest[] = []): Promise<Cut> {
    this.#connection.checkFile();
    const isWhole = request !== undefined && isKeyless(this.#layouts, request);
    const sight = await (isWhole
      ? this.#lookBeside(request)
      : this.#connection.read(() => this.#look(request)));
    const chunks = sight.chunk === null ? [] : [sight.chunk];
    this.#seen = sight.to;
    if (sight.mend) await this.#connection.write(() => this.#guard.mend());
    if (!sight.changed) return { header: null, pages: none(), chunks };
    const header = await this.#connection.write(() => this.#recordCut(sight));
    return { header, pages: this.pages(header.batch), chunks };
  }

  async *pages(batch: number): AsyncIterable<readonly Change[]> {
    const range = await this.#connection.read(() => this.#range(batch));
    for (let next = range.first_id; next <= range.last_id; ) {
      const page = await this.#connection.read(() => this.#page(next, range.last_id));
      next = page.next;
      if (page.changes.length > 0) yield page.changes;
      await breathe();
    }
  }

  async purge(upTo: number): Promise<void> {
    const bound = await this.#connection.read(() => this.#purgeBound(BigInt(upTo)));
    if (bound === null) return;
    const asIfGone = { durable: false };
    await this.#connection.write(() => {
      // The mark first: once a row may be missing, nobody may take the batch for whole.
      this.#connection.run("UPDATE tidemark_source SET purged = max(purged, ?)", bound.batch);
      this.#connection.run(
        "DELETE FROM tidemark_batches WHERE n <= ? AND n < (SELECT max(n) FROM tidemark_batches)",
        bound.batch,
      );
      this.#hollow();
    }, asIfGone);
    failpoint("purge-half");
    for (let first = bound.first; first <= bound.last; first += BigInt(PURGE_ROWS)) {
      const last = first + BigInt(PURGE_ROWS) - 1n;
      await this.#connection.write(() => {
        this.#connection.run(
          `DELETE FROM ${LOG} WHERE id BETWEEN ? AND ?`,
          first,
          last < bound.last ? last : bound.last,
        );
      }, asIfGone);
      await breathe();
    }
  }

  #hollow(): void {
    const { keys, values } = logWidth(this.#connection);
    const cells = ["filters"];
    for (let i = 1; i <= keys; i++) cells.push(`k${i}`);
    for (let i = 1; i <= values; i++) cells.push(`c${i}`);
    const emptied = cells.map((cell) => `${cell} = NULL`).join(", ");
    this.#connection.run(`UPDATE ${LOG} SET op = '-', ${emptied} WHERE id = ${HOLLOW}`);
  }

  #look(request: ChunkRequest | undefined): Sight {
    const connection = this.#connection;
    const mend = this.#guard.check().length > 0;
    const last = this.#lastRecord();
    const from = (last?.last_id ?? this.#guard.firstId - 1n) + 1n;
    const newest = connection.row<{ id: bigint; at: number }>(
      `SELECT id, at FROM ${LOG} ORDER BY id DESC LIMIT 1`,
    );
    const to = newest?.id ?? from - 1n;
    this.#checkWhole(from, to);
    const verdicts = settleDisplaced(connection, this.#layouts, from - 1n, to);
    const changed =
      verdicts.some(({ op }) => op === "d") ||
      connection.value(
        `SELECT 1 FROM ${LOG} WHERE id >= ? AND id <= ? AND op IN ('i', 'u', 'd', 'k') LIMIT 1`,
        from,
        to,
      ) === 1n;
    const chunk = request === undefined ? null : readChunk(connection, this.#layouts, request);
    const lastAt = (Number(newest?.at ?? 0) - JULIAN_EPOCH_DAY) * DAY_MS;
    return { last, from, to, changed, lastAt, verdicts, mend, chunk };
  }

  /**
   * As `#look`, with the chunk read on a connection of its own, whose snapshot stays open: nobody writes
   * while both look, so both see the same.
   */
  async #lookBeside(request: ChunkRequest): Promise<Sight> {
    await this.close();
    const copier = await this.#openCopier();
    this.#copier = copier;
    const end = async () => {
      if (this.#copier === copier) this.#copier = null;
      await copier.close();
    };
    return this.#connection.write(() => {
      const sight = this.#look(undefined);
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

  /**
   * Ids have no holes: a missing one was deleted by someone else, or the file went back in time. Of the newest ones
   * SQLite's own table tells which were given.
   */
  #checkWhole(from: bigint, to: bigint): void {
    const first = this.#connection.value(
      `SELECT id FROM ${LOG} WHERE id >= ? ORDER BY id LIMIT 1`,
      from,
    );
    const given = this.#connection.value("SELECT seq FROM sqlite_sequence WHERE name = ?", LOG);
    const endIsGone = typeof given === "bigint" && given > to;
    if (endIsGone || to < from - 1n || (typeof first === "bigint" && first !== from)) {
      throw this.#broken();
    }
  }

  #broken(): TidemarkError {
    return new TidemarkError(
      "TM-CAPTURE-BROKEN",
      `${this.#connection.name}: rows of ${LOG} are missing: somebody deleted them.`,
      { fix: COPY_ANEW },
    );
  }

  #recordCut(sight: Sight): BatchHeader {
    const connection = this.#connection;
    const { last } = sight;
    if (this.#lastRecord()?.hash !== last?.hash) {
      throw new TidemarkError(
        "TM-RELAY-FENCED",
        `${connection.name}: another relay has cut a batch of this source.`,
      );
    }
    applyVerdicts(connection, this.#layouts, sight.verdicts);
    const n = (last?.n ?? 0n) + 1n;
    const prevHash = last?.hash ?? timelineHash(this.#timeline);
    const cutAt = new Date().toISOString();
    const definition = `${sight.from}-${sight.to} ${cutAt} ${randomUUID()}`;
    const record: BatchRecord = {
      n,
      prev_hash: prevHash,
      hash: batchHash(prevHash, Number(n), definition),
      first_id: sight.from,
      last_id: sight.to,
      cut_at: cutAt,
      committed_at: laterOf(new Date(sight.lastAt).toISOString(), last?.cut_at ?? ""),
    };
    connection.run(
      `INSERT INTO tidemark_batches (n, prev_hash, hash, definition, first_id, last_id, cut_at, committed_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      n,
      record.prev_hash,
      record.hash,
      definition,
      record.first_id,
      record.last_id,
      record.cut_at,
      record.committed_at,
    );
    this.#raiseSequence(sight.to);
    return this.#toHeader(record);
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

  #range(batch: number): BatchRecord {
    const record = this.#record(batch);
    const purged = this.#connection.value("SELECT purged FROM tidemark_source");
    if (record !== undefined && Number(purged) < batch) return record;
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
  #purgeBound(upTo: bigint): { batch: bigint; first: bigint; last: bigint } | null {
    const connection = this.#connection;
    const newest = this.#lastRecord();
    if (newest === undefined) return null;
    const batch = upTo < newest.n ? upTo : newest.n;
    const kept = connection.value(
      "SELECT first_id FROM tidemark_batches WHERE n > ? ORDER BY n LIMIT 1",
      batch,
    );
    // The newest stays: see HOLLOW.
    const last = typeof kept === "bigint" ? kept - 1n : newest.last_id - 1n;
    const first = connection.value(`SELECT id FROM ${LOG} ORDER BY id LIMIT 1`);
    const purged = connection.value("SELECT purged FROM tidemark_source") as bigint;
    const nothing = typeof first !== "bigint" || first > last;
    if (nothing && purged >= batch) return null;
    return { batch, first: typeof first === "bigint" ? first : last + 1n, last };
  }

  #lastRecord(): BatchRecord | undefined {
    return this.#connection.row<BatchRecord & object>(
      `SELECT ${RECORD} FROM tidemark_batches ORDER BY n DESC LIMIT 1`,
    );
  }

  #record(batch: number): BatchRecord | undefined {
    return this.#connection.row<BatchRecord & object>(
      `SELECT ${RECORD} FROM tidemark_batches WHERE n = ?`,
      BigInt(batch),
    );
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

const RECORD = "n, prev_hash, hash, first_id, last_id, cut_at, committed_at";
const DAY_MS = 86_400_000;
const JULIAN_EPOCH_DAY = 2_440_587.5;

function laterOf(a: string, b: string): string {
  return a > b ? a : b;
}

async function* none(): AsyncGenerator<readonly Change[]> {}
