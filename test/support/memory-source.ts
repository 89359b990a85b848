import { Bell } from "../../src/core/async.ts";
import type { Change, Layout } from "../../src/core/change.ts";
import { TidemarkError } from "../../src/core/errors.ts";
import { batchHash, timelineHash } from "../../src/core/hash.ts";
import type { BatchHeader } from "../../src/core/position.ts";
import type {
  Batches,
  ChangeLog,
  Chunk,
  ChunkRequest,
  Cut,
  LogStats,
  Source,
  Subscribers,
} from "../../src/core/source.ts";

export const LAYOUT: Layout = {
  id: 1,
  table: { schema: null, name: "t" },
  columns: [
    { name: "id", type: { kind: "text" }, nativeType: "text", nullable: false, generated: false },
  ],
  key: [0],
  filters: [],
};

/** The source contract in memory: one table, one column. */
export class MemorySource implements Source {
  readonly capabilities = {
    truncate: true,
    streamsChunks: false,
  };
  readonly confirmed = new Map<string, number>();
  readonly headers: BatchHeader[] = [];
  readonly batches = new Map<number, readonly Change[]>();
  readonly rows: string[] = [];
  readonly changed = new Bell();
  pending: Change[] = [];
  purgedTo = 0;
  purgeEveryMs = 0;
  /** A purge takes until it resolves. */
  purging: Promise<void> = Promise.resolve();
  bytes = 0;
  /** Thrown by the next cut. */
  failNextCut: TidemarkError | null = null;
  readonly chunkRows: number;

  constructor(chunkRows = 1) {
    this.chunkRows = chunkRows;
  }

  insert(id: string): void {
    this.rows.push(id);
    const at = { transaction: null, origin: null, hops: [], filters: [] };
    const change = { layout: 1, op: "insert", keyBefore: null, row: [id], rowBefore: null, ...at };
    this.pending.push(change as Change);
    this.changed.ring();
  }

  cutNow(): BatchHeader | null {
    if (this.pending.length === 0) return null;
    const batch = this.headers.length + 1;
    const prevHash = this.headers.at(-1)?.hash ?? timelineHash("tl");
    const at = new Date().toISOString();
    const hash = batchHash(prevHash, batch, "x");
    const header = { timeline: "tl", batch, hash, prevHash, cutAt: at, committedAt: at };
    this.headers.push(header);
    this.batches.set(batch, this.pending);
    this.pending = [];
    return header;
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

  async openChangeLog(): Promise<ChangeLog> {
    return new MemoryLog(this);
  }

  async close(): Promise<void> {}
}

class MemoryLog implements ChangeLog, Batches {
  readonly timeline = "tl";
  readonly batches = this;
  readonly subscribers: Subscribers;
  readonly #source: MemorySource;

  constructor(source: MemorySource) {
    this.#source = source;
    this.subscribers = {
      list: async () => new Map(source.confirmed),
      set: async (sync, confirmed) => void source.confirmed.set(sync, confirmed),
      remove: async (sync) => void source.confirmed.delete(sync),
    };
  }

  get purgeEveryMs(): number {
    return this.#source.purgeEveryMs;
  }

  async capture(): Promise<readonly Layout[]> {
    return [LAYOUT];
  }

  async forget(): Promise<void> {}

  async waitForChanges(signal: AbortSignal): Promise<void> {
    if (this.#source.pending.length === 0) await this.#source.changed.wait(60_000, signal);
  }

  async stats(): Promise<LogStats> {
    return { rows: 0, bytes: this.#source.bytes };
  }

  async close(): Promise<void> {}

  async last(): Promise<BatchHeader | null> {
    return this.#source.headers.at(-1) ?? null;
  }

  async header(batch: number): Promise<BatchHeader | null> {
    const kept = batch > this.#source.purgedTo || batch === this.#source.headers.length;
    return kept ? (this.#source.headers[batch - 1] ?? null) : null;
  }

  async cut([request]: readonly ChunkRequest[] = []): Promise<Cut> {
    const failure = this.#source.failNextCut;
    this.#source.failNextCut = null;
    if (failure !== null) throw failure;
    const header = this.#source.cutNow();
    const changes = header === null ? [] : (this.#source.batches.get(header.batch) ?? []);
    return { header, pages: pagesOf(changes), chunks: request ? [this.#chunk(request)] : [] };
  }

  async *pages(batch: number): AsyncGenerator<readonly Change[]> {
    if (batch <= this.#source.purgedTo) throw new TidemarkError("TM-BATCH-PURGED", "Purged.");
    yield this.#source.batches.get(batch) ?? [];
  }

  async purge(upTo: number): Promise<void> {
    await this.#source.purging;
    this.#source.purgedTo = Math.max(this.#source.purgedTo, upTo);
  }

  #chunk({ after }: ChunkRequest): Chunk {
    const from = after === null ? 0 : Number(after);
    const to = Math.min(this.#source.rows.length, from + this.#source.chunkRows);
    const rows = this.#source.rows.slice(from, to).map((id) => [id]);
    const done = to >= this.#source.rows.length;
    return {
      layout: 1,
      content: { kind: "rows", rows, filters: rows.map(() => []) },
      cursor: String(to),
      done,
      estimatedRows: null,
    };
  }
}

async function* pagesOf(changes: readonly Change[]): AsyncGenerator<readonly Change[]> {
  if (changes.length > 0) yield changes;
}
