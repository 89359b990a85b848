import type { Change } from "../../core/change.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { timelineHash } from "../../core/hash.ts";
import type { BatchHeader } from "../../core/position.ts";
import type { ChangesPage } from "../../core/row-lines.ts";
import type { Batches, Chunk, ChunkRequest, Cut } from "../../core/source.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { AskedChunk } from "./chunk.ts";
import type { ChunkReader } from "./chunk-reader.ts";
import type { Connection, Parameter, Row } from "./connection.ts";
import { sqlState } from "./errors.ts";
import type { StoredLayout } from "./layouts.ts";
import type { BatchBounds, LogPages } from "./log-pages.ts";
import { ID, isoTime, type LogDecoder } from "./log-rows.ts";
import { alteredSql } from "./pins.ts";
import type { LogRotation } from "./rotation.ts";
import {
  countOvertaken,
  parseSnapshot,
  type SnapshotParts,
  unseenRows,
  unseenTransactions,
} from "./snapshot.ts";

/** A batch of so many rows, of these about so many bytes, comes with the statement that cuts it. */
const FIRST_PAGE_ROWS = 500;
const FIRST_PAGE_BYTES = 1_000_000;
/**
 * Weight of the newest cut in the time of a commit. Whatever else delays a cut (a busy processor, our own
 * turn) only makes it longer: a shorter one tells more than a longer one.
 */
const SHORTER = 0.1;
const LONGER = 0.01;
const UNIQUE_VIOLATION = "23505";

/** Where the chain stands: the newest batch, or the start of the timeline. */
export interface Tip {
  readonly batch: number;
  readonly hash: string;
  readonly snapshot: SnapshotParts;
  /** As PostgreSQL prints it. */
  readonly cutAt: string;
}

/** What the parts of the change log share. */
export interface BatchesContext {
  readonly timeline: string;
  readonly main: Connection;
  readonly decoder: LogDecoder;
  readonly pages: LogPages;
  readonly chunks: ChunkReader;
  readonly rotation: LogRotation;
  /** The layout in force of a captured table. */
  currentLayout(table: TableName): StoredLayout | null;
  /** Throws TM-SCHEMA-DRIFT or TM-CAPTURE-BROKEN; cheap when called often. */
  checkCapture(): Promise<void>;
  /** A captured table was altered: throws the same where it no longer fits. */
  lookAgain(): Promise<void>;
  /** The same, if one was. */
  lookIfAltered(): Promise<void>;
  /** Stores what the decoder has found lost, before anybody reads on. */
  noteLost(): Promise<void>;
}

export class PostgresBatches implements Batches {
  readonly #context: BatchesContext;
  #tip: Tip;
  #commitMs = 0;

  constructor(context: BatchesContext, tip: Tip) {
    this.#context = context;
    this.#tip = tip;
  }

  async last(): Promise<BatchHeader | null> {
    const [row] = await this.#context.main.rows(`${HEADERS} ORDER BY n DESC LIMIT 1`);
    return row ? this.#toHeader(row) : null;
  }

  async header(batch: number): Promise<BatchHeader | null> {
    const [row] = await this.#context.main.rows(`${HEADERS} WHERE n = $1`, [String(batch)]);
    return row ? this.#toHeader(row) : null;
  }

  /** About how long a commit takes at the source now: that of a cut, its reading included. */
  get commitMs(): number {
    return this.#commitMs;
  }

  /** Is there anything to cut? A few index probes for each log table, however long the log is. */
  async hasUnseen(): Promise<boolean> {
    const { snapshot } = this.#tip;
    const [row] = await this.#context.main.rows(
      UNSEEN,
      [snapshot.newest, snapshot.inProgress],
      "unseen",
    );
    return row?.[0] === "t";
  }

  async cut(chunks: readonly ChunkRequest[] = []): Promise<Cut> {
    await this.#context.checkCapture();
    for (;;) {
      const cut = await this.#tryCut(chunks);
      if (cut !== null) return cut;
      await this.#context.lookAgain();
    }
  }

  async look(): Promise<boolean> {
    await this.#context.lookIfAltered();
    return true;
  }

  /** Null, and nothing is done, when the snapshot shows that a table with changes in it was altered. */
  async #tryCut(wanted: readonly ChunkRequest[]): Promise<Cut | null> {
    try {
      if (wanted.length === 0) {
        const startedAt = performance.now();
        const rows = await this.#cutStatement();
        if (isAltered(rows)) return null;
        const cut = this.#accept(rows);
        if (cut.header !== null) this.#noteCommit(performance.now() - startedAt);
        return { ...cut, chunks: [] };
      }
      return await this.#cutWithChunks(wanted);
    } catch (error) {
      if (sqlState(error) !== UNIQUE_VIOLATION) throw error;
      throw new TidemarkError("TM-RELAY-FENCED", "Another relay has cut this batch.", {
        cause: error,
      });
    }
  }

  async *pages(batch: number): AsyncGenerator<ChangesPage> {
    const rows = await this.#context.main.rows(
      `SELECT n, snapshot FROM tidemark.batches WHERE n IN ($1::bigint - 1, $1::bigint)
       UNION ALL SELECT 0, start FROM tidemark.source WHERE $1::bigint = 1`,
      [String(batch)],
    );
    const snapshots = new Map(rows.map(([n, snapshot]) => [Number(n), snapshot as string]));
    const from = snapshots.get(batch - 1);
    const to = snapshots.get(batch);
    const purged = await this.#context.rotation.purged();
    if (batch <= purged || from === undefined || to === undefined) {
      throw new TidemarkError(
        "TM-BATCH-PURGED",
        `The changes of batch ${batch} are no longer in the change log.`,
        {
          details: { batch, purged },
        },
      );
    }
    const between = { batch, from: parseSnapshot(from), to: parseSnapshot(to) };
    yield* this.#pagesBetween(between, null);
  }

  purge(upTo: number): Promise<void> {
    return this.#context.rotation.purge(upTo);
  }

  #noteCommit(ms: number): void {
    const known = this.#commitMs === 0 ? ms : this.#commitMs;
    this.#commitMs = known + (ms < known ? SHORTER : LONGER) * (ms - known);
  }

  #cutStatement(): Promise<Row[]> {
    const { snapshot, batch, hash, cutAt } = this.#tip;
    const values: Parameter[] = [
      snapshot.newest,
      snapshot.inProgress,
      String(batch + 1),
      hash,
      cutAt,
    ];
    return this.#context.main.rows(CUT, values, "cut");
  }

  /** Cut and chunks see one snapshot; the batch is committed before a row of a chunk is published. */
  async #cutWithChunks(requests: readonly ChunkRequest[]): Promise<Cut | null> {
    const { main, chunks } = this.#context;
    const asked = this.#captured(requests);
    const rows = await main.transaction("BEGIN ISOLATION LEVEL REPEATABLE READ", async () => {
      const [cut, [exported]] = await Promise.all([
        this.#cutStatement(),
        main.rows("SELECT pg_export_snapshot()"),
      ]);
      await chunks.begin(exported?.[0] ?? "");
      return cut;
    });
    if (isAltered(rows)) return null;
    return { ...this.#accept(rows), chunks: await this.#readChunks(asked) };
  }

  /** With their layouts, up to the first table that is not captured. Throws when that is the first of all. */
  #captured(requests: readonly ChunkRequest[]): readonly AskedChunk[] {
    const asked: AskedChunk[] = [];
    for (const request of requests) {
      const layout = this.#context.currentLayout(request.table);
      if (layout === null) break;
      asked.push({ layout, request });
    }
    const [first] = requests;
    if (asked.length === 0 && first !== undefined) {
      const table = formatTable(first.table);
      throw new TidemarkError("TM-CAPTURE-MISSING", `Table ${table} is not captured.`);
    }
    return asked;
  }

  /** Where the first table was altered, that is told; none: it was written anew, and is to be read by a later cut. */
  async #readChunks(asked: readonly AskedChunk[]): Promise<readonly Chunk[]> {
    try {
      const chunks = await this.#context.chunks.read(asked);
      if (chunks.length === 0) await this.#context.lookAgain();
      return chunks;
    } catch (error) {
      if (!isTidemarkError(error) || !error.retryable) await this.#context.lookAgain();
      throw error;
    }
  }

  /** Moves the tip and gives the batch, its first page at hand, the rest streamed. */
  #accept(rows: readonly Row[]): Omit<Cut, "chunks"> {
    const at = rows.findIndex((row) => row[ID] === null);
    const head = rows[at];
    if (!head) return { header: null, pages: none(), overtaken: 0 };
    const [, hash, snapshot, cutAt, committedAt, found] = head as [
      null,
      string,
      string,
      string,
      string,
      string,
    ];
    const before = this.#tip;
    const header: BatchHeader = {
      timeline: this.#context.timeline,
      batch: before.batch + 1,
      hash,
      prevHash: before.hash,
      cutAt: isoTime(cutAt),
      committedAt: isoTime(committedAt),
    };
    this.#tip = { batch: header.batch, hash, snapshot: parseSnapshot(snapshot), cutAt };
    const first = rows.filter((_, i) => i !== at);
    const complete = Number(found) === first.length && first.length <= FIRST_PAGE_ROWS;
    const between = { batch: header.batch, from: before.snapshot, to: this.#tip.snapshot };
    return {
      header,
      pages: this.#pagesOf(first, between, complete),
      overtaken: countOvertaken(between.to, between.from),
    };
  }

  async *#pagesOf(
    first: readonly Row[],
    between: BatchBounds,
    complete: boolean,
  ): AsyncGenerator<ChangesPage> {
    const { decoder, noteLost } = this.#context;
    const changes: Change[] = [];
    for (const row of first) {
      try {
        changes.push(decoder.change(row, between.batch));
      } catch (error) {
        // What stands before the unfit change is good.
        if (changes.length > 0) yield changes;
        throw error;
      }
    }
    await noteLost();
    yield changes;
    if (!complete) yield* this.#pagesBetween(between, first.at(-1)?.[ID] ?? null);
  }

  async *#pagesBetween(between: BatchBounds, afterId: string | null): AsyncGenerator<ChangesPage> {
    for await (const page of this.#context.pages.between(between, afterId)) {
      await this.#context.noteLost();
      yield page;
    }
  }

  #toHeader(row: Row): BatchHeader {
    const [n, hash, prevHash, cutAt, committedAt] = row as string[];
    return {
      timeline: this.#context.timeline,
      batch: Number(n),
      hash: hash as string,
      prevHash: prevHash as string,
      cutAt: isoTime(cutAt as string),
      committedAt: isoTime(committedAt as string),
    };
  }
}

/** See CUT. */
function isAltered(rows: readonly Row[]): boolean {
  return rows.some((row) => row[ID] === null && row[1] === null);
}

async function* none(): AsyncGenerator<ChangesPage> {}

const HEADERS = "SELECT n, hash, prev_hash, cut_at, committed_at FROM tidemark.batches";

const UNSEEN = `WITH ${unseenTransactions("$1::xid8", "$2::xid8[]")}
SELECT EXISTS (${unseenRows(1)})`;

/**
 * Stores the batch and reads a small one in the same statement, hence in one snapshot and one round
 * trip. Row 1 (id null) is the header with the number of rows found; the rest are log rows in order.
 * Of a larger batch no row comes along: which of them are first would be known only by sorting all,
 * and that the reader does anyway. So finding one row too many is enough here.
 * No batch is made where the same snapshot shows that a table with rows in it was altered: a row with
 * nothing in it says so. Whoever alters a table waits for all who have written it, so in a snapshot
 * without the ALTER no row is logged after it.
 * (`page.id`: a bare `id` would be the output column, and texts sort 10 before 9.)
 * The commit of this statement is synchronous and so makes every earlier commit durable.
 */
const CUT = `
WITH ${unseenTransactions("$1::xid8", "$2::xid8[]")}, found AS MATERIALIZED (
  ${unseenRows(FIRST_PAGE_ROWS + 1)}
), altered AS (
  ${alteredSql(FIRST_PAGE_ROWS)} LIMIT 1
), made AS (
  INSERT INTO tidemark.batches (n, prev_hash, hash, snapshot, cut_at, committed_at)
  SELECT $3::bigint, $4::text,
         encode(sha256(convert_to(concat_ws(E'\\n', 'batch', $4::text, $3::bigint::text, pg_current_snapshot()::text), 'UTF8')), 'hex'),
         pg_current_snapshot(), greatest(clock_timestamp(), $5::timestamptz),
         greatest((SELECT max(logged_at) FROM found), $5::timestamptz)
  WHERE EXISTS (SELECT FROM found) AND NOT EXISTS (SELECT FROM altered)
  RETURNING hash, snapshot, cut_at, committed_at
), page AS (
  SELECT *, sum(coalesce(octet_length(row), 0)) OVER (ORDER BY id) - coalesce(octet_length(row), 0) AS before
  FROM found WHERE (SELECT count(*) FROM found) <= ${FIRST_PAGE_ROWS}
)
SELECT NULL::text, hash, snapshot::text, cut_at::text, committed_at::text, (SELECT count(*)::text FROM found)
FROM made
UNION ALL
SELECT NULL, NULL, NULL, NULL, NULL, NULL FROM altered
UNION ALL
(SELECT id::text, xid::text, logged_at::text, kind, row, NULL
 FROM page WHERE before < ${FIRST_PAGE_BYTES} ORDER BY page.id)`;

export function firstTip(timeline: string, start: string, createdAt: string): Tip {
  return {
    batch: 0,
    hash: timelineHash(timeline),
    snapshot: parseSnapshot(start),
    cutAt: createdAt,
  };
}
