import type { Change, Layout } from "../../../src/core/change.ts";
import { TidemarkError } from "../../../src/core/errors.ts";
import type { BatchHeader } from "../../../src/core/position.ts";
import { type ChangesPage, formatField } from "../../../src/core/row-lines.ts";
import type {
  Batches,
  ChangeLog,
  Chunk,
  ChunkLines,
  ChunkRequest,
  ChunkRows,
  Cut,
  LinesRoom,
  LogStats,
  Source,
  Subscribers,
} from "../../../src/core/source.ts";
import type { Row } from "../../../src/core/value.ts";
import type { Session, SimulatedProcess } from "./process.ts";
import { ALTERED, filterAnswers, layoutOf, rowOf, TABLES, type Table, toLayout } from "./shapes.ts";
import {
  type Batch,
  type LogRow,
  type Snapshot,
  type SourceDatabase,
  TIMELINE,
} from "./source-database.ts";

const PAGE_CHANGES = 3;
/** Lines are pieces by themselves, of three rows here where there are thousands: of a large batch more than there can be. */
const MOST_IN_RUNS = 30;
const CHUNK_ROWS = 3;
const ROW_BYTES = 100;

/** What a cut takes, in its order, and what it says it has seen; a planted fault puts another in its place. */
export type CutRule = (source: SourceDatabase) => {
  readonly rows: readonly LogRow[];
  readonly snapshot: Snapshot;
};

const ALL_THAT_IS_SEEN: CutRule = (source) => ({
  rows: source.unseen(),
  snapshot: source.snapshot,
});

/** Hooks of the simulation into a source: what is judged, and what a planted fault does otherwise. */
export interface SourceHooks {
  readonly rule?: CutRule;
  /** Planted: a cut is kept in the relay's memory only, and stored with the next one. */
  readonly forgetsCuts?: boolean;
  /** Planted: a change of a row that does not pass the filter afterwards is none. */
  readonly filtersChanges?: boolean;
  readonly onPurge: (upTo: number) => void;
}

/** A relay's connection. */
export class SimulatedSource implements Source {
  readonly capabilities = {
    truncate: true,
    streamsChunks: false,
  };
  readonly #database: SourceDatabase;
  readonly #session: Session;
  readonly #hooks: SourceHooks;

  constructor(process: SimulatedProcess, database: SourceDatabase, hooks: SourceHooks) {
    this.#database = database;
    this.#session = process.connect(database);
    this.#hooks = hooks;
  }

  async identity(): Promise<null> {
    return null;
  }

  async planCapture(): Promise<{ statements: []; notes: [] }> {
    return { statements: [], notes: [] };
  }

  async diagnose(): Promise<[]> {
    return [];
  }

  openChangeLog(): Promise<ChangeLog | null> {
    const database = this.#database;
    return this.#session.call(() => {
      if (database.holder !== null) return null;
      const lease = {};
      database.holder = lease;
      this.#session.onLost(() => {
        if (database.holder === lease) database.holder = null;
      });
      return new SimulatedLog(this.#session, database, this.#hooks);
    });
  }

  async close(): Promise<void> {
    this.#session.end();
  }
}

class SimulatedLog implements ChangeLog, Batches {
  readonly timeline = TIMELINE;
  readonly batches = this;
  readonly subscribers: Subscribers;
  readonly #session: Session;
  readonly #database: SourceDatabase;
  readonly #hooks: SourceHooks;
  #newest: Batch | null = null;

  constructor(session: Session, database: SourceDatabase, hooks: SourceHooks) {
    this.#session = session;
    this.#database = database;
    this.#hooks = hooks;
    const { confirmed } = database;
    this.subscribers = {
      list: () => session.call(() => new Map(confirmed)),
      set: (sync, batch) => session.call(() => void confirmed.set(sync, batch)),
      remove: (sync) => session.call(() => void confirmed.delete(sync)),
    };
    // What was only remembered is gone with whoever remembered it.
    if (hooks.forgetsCuts) session.onLost(() => database.forget(this.#newest));
  }

  async capture(): Promise<readonly Layout[]> {
    const database = this.#database;
    const before = await this.#session.call(() => {
      // Whoever starts it finds that the table at the target lacks a column.
      if (database.alteration === "made") throw altered();
      if (database.alteration === "mended") database.captureAltered();
      database.captured = true;
      return database.snapshot.running;
    });
    const stillRuns = () => [...before].some((id) => database.snapshot.running.has(id));
    while (await this.#session.call(stillRuns)) await this.#pause();
    const layouts = TABLES.map((table) => toLayout(table, database.shapes[table], false));
    if (!database.hasMore(ALTERED)) return layouts;
    return [...layouts, toLayout(ALTERED, database.shapes[ALTERED], true)];
  }

  async forget(): Promise<void> {}

  async waitForChanges(signal: AbortSignal): Promise<void> {
    const database = this.#database;
    while (!signal.aborted) {
      let commits = 0;
      const found = await this.#session.call(() => {
        commits = database.commits;
        return database.hasUnseen();
      });
      if (found) return;
      await new Promise<void>((resolve) => {
        const done = () => {
          forgetGrowth();
          forgetLoss();
          signal.removeEventListener("abort", done);
          resolve();
        };
        const forgetGrowth = database.onGrowth(done);
        const forgetLoss = this.#session.onLost(done);
        signal.addEventListener("abort", done, { once: true });
        if (signal.aborted || database.commits !== commits || !this.#session.open) done();
      });
    }
  }

  stats(): Promise<LogStats> {
    const { log } = this.#database;
    return this.#session.call(() => {
      const bytes = log.length * ROW_BYTES;
      return { rows: log.length, bytes };
    });
  }

  async close(): Promise<void> {
    this.#session.end();
  }

  last(): Promise<BatchHeader | null> {
    return this.#session.call(() => this.#database.last?.header ?? null);
  }

  header(batch: number): Promise<BatchHeader | null> {
    return this.#session.call(() => {
      const { batches, purgedTo } = this.#database;
      const isKept = batch > purgedTo || batch === batches.length;
      return isKept ? (batches[batch - 1]?.header ?? null) : null;
    });
  }

  async cut(requests: readonly ChunkRequest[] = []): Promise<Cut> {
    const database = this.#database;
    const { rule = ALL_THAT_IS_SEEN } = this.#hooks;
    const { header, chunks } = await this.#session.call(() => {
      if (database.alteration === "made" || database.alteration === "mended") throw altered();
      const { rows, snapshot } = rule(database);
      const at = new Date().toISOString();
      const batch = rows.length === 0 ? null : database.store(rows, at, snapshot);
      this.#newest = batch ?? this.#newest;
      const chunks = chunksOf(database, requests);
      return { header: batch?.header ?? null, chunks };
    });
    return { header, pages: header === null ? NO_PAGES : this.pages(header.batch), chunks };
  }

  async *pages(batch: number): AsyncGenerator<ChangesPage> {
    const database = this.#database;
    const isSmall = (database.batches[batch - 1]?.rows.length ?? 0) <= MOST_IN_RUNS;
    for (let from = 0; ; from += PAGE_CHANGES) {
      const page = await this.#session.call(() => {
        if (batch <= database.purgedTo) throw new TidemarkError("TM-BATCH-PURGED", "Purged.");
        return database.batches[batch - 1]?.rows.slice(from, from + PAGE_CHANGES) ?? [];
      });
      if (page.length === 0) return;
      const changes = page.map(({ change }) => change);
      const passing = this.#hooks.filtersChanges
        ? changes.filter(({ filters }) => filters[0] !== false)
        : changes;
      yield* isSmall ? inRuns(passing, 1 + (batch % 2)) : [passing];
    }
  }

  async purge(upTo: number): Promise<void> {
    await this.#session.call(() => {
      if (upTo > this.#database.purgedTo) this.#hooks.onPurge(upTo);
      this.#database.purge(upTo);
    });
  }

  #pause(): Promise<void> {
    return this.#session.process.world.clock.sleep(20);
  }
}

/**
 * Rows that one transaction inserted one after the other come as lines, as of PostgreSQL, where there are so many; all
 * else as changes.
 */
function* inRuns(changes: readonly Change[], least: number): Generator<ChangesPage> {
  let run: Change[] = [];
  for (const change of changes) {
    const [first] = run;
    if (first !== undefined && !isRun(first, change)) {
      yield pageOf(run, least);
      run = [];
    }
    run.push(change);
  }
  if (run.length > 0) yield pageOf(run, least);
}

function isRun(a: Change, b: Change): boolean {
  const isOne = a.layout === b.layout && a.transaction === b.transaction;
  return isLine(a) === isLine(b) && (isOne || !isLine(a));
}

function isLine({ op, row, filters }: Change): boolean {
  if (op !== "insert" || filters.length > 0 || row === null) return false;
  return row.every((value) => value === null || typeof value === "string");
}

function pageOf(run: readonly Change[], least: number): ChangesPage {
  const [first] = run as [Change];
  if (run.length < least || !isLine(first)) return run;
  const { layout, transaction, origin, hops } = first;
  const lines = run.map(({ row }) => `${(row as (string | null)[]).map(formatField).join("\t")}\n`);
  const bytes = Buffer.from(lines.join(""), "utf8");
  const insertedBy = { transaction, origin, hops };
  return { layout, rows: run.length, filtered: false, bytes, insertedBy };
}

/** Sometimes one, sometimes as many as may be given. */
function chunksOf(source: SourceDatabase, requests: readonly ChunkRequest[]): readonly Chunk[] {
  const chunks: Chunk[] = [];
  for (const request of source.batches.length % 2 === 0 ? requests : requests.slice(0, 1)) {
    const chunk = chunkOf(source, request);
    chunks.push(chunk);
    if (!chunk.done) break;
  }
  return chunks;
}

/** The next rows by key, up to the greatest key that stood when the copy began; without a key all of them. */
function chunkOf(source: SourceDatabase, { table, after, binary }: ChunkRequest): Chunk {
  const name = table.name as Table;
  const shape = source.shapes[name];
  const cursor = after === null ? null : (JSON.parse(after) as { after: string; upper: string });
  const all = source.rowsOf(name);
  const upper = cursor?.upper ?? all.at(-1)?.[0] ?? "";
  const left = all.filter(([key]) => key <= upper && (cursor === null || key > cursor.after));
  const taken = shape.hasKey ? left.slice(0, CHUNK_ROWS) : left;
  const done = taken.length === left.length;
  const last = done ? upper : (taken.at(-1)?.[0] ?? upper);
  const hasMore = source.hasMore(name);
  const rows = taken.map(([key, value]) => rowOf(shape, key, value, hasMore));
  const filters = taken.map(([, value]) => filterAnswers(shape, value));
  const isPlain = shape.hasKey && filters.every((answers) => answers.length === 0);
  return {
    layout: layoutOf(name, hasMore),
    content:
      binary && isPlain
        ? inBinary(rows)
        : shape.hasKey
          ? { kind: "rows", rows, filters }
          : { kind: "pages", pages: inPages(rows) },
    // Of a table without a key, nothing of the target's is compared with the source's key.
    cursor: JSON.stringify(shape.hasKey ? { after: last, upper } : { after: "~", upper: "~" }),
    done,
    estimatedRows: null,
  };
}

/** Lines in truth, which only the simulated target knows. */
function inBinary(rows: readonly Row[]): ChunkLines {
  const lines = rows.map((row) => `${(row as (string | null)[]).map(formatField).join("\t")}\n`);
  async function* blocks({ headroom }: LinesRoom) {
    const bytes = Buffer.from(" ".repeat(headroom) + lines.join(""), "utf8");
    if (rows.length > 0) yield { bytes, rows: rows.length };
  }
  return { kind: "lines", filtered: false, binary: true, blocks };
}

async function* inPages(rows: readonly Row[]): AsyncGenerator<Omit<ChunkRows, "kind">> {
  for (let from = 0; from < rows.length; from += CHUNK_ROWS) {
    const page = rows.slice(from, from + CHUNK_ROWS);
    yield { rows: page, filters: page.map(() => []) };
  }
}

function altered(): TidemarkError {
  return new TidemarkError("TM-SCHEMA-DRIFT", `${ALTERED} has a column more.`);
}

const NO_PAGES: AsyncIterable<readonly Change[]> = (async function* () {})();
