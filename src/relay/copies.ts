import type { CopyRequest, RequestDocument } from "../core/documents.ts";
import type { CopyInfo } from "../core/message.ts";
import { type Position, START } from "../core/position.ts";
import type { Chunk, ChunkRequest } from "../core/source.ts";
import type { TableName } from "../core/table.ts";

/** Chunks sent and not yet known applied, per table being copied: bounds what a restart repeats and what the queue holds. */
const IN_FLIGHT = 4;

export interface ChunkSize {
  readonly maxRows: number;
  readonly maxBytes: number;
}

/** Tables of which the next chunks are asked for at once: small ones the source may give together. */
const TABLES_AT_ONCE = 50;

/** Of a chunk that is held in memory whole: decoded it takes many times its size. */
export const HELD_CHUNK: ChunkSize = { maxRows: 5_000, maxBytes: 1024 * 1024 };
/** Of one that passes through: bounds what a restart repeats, and how long the source keeps a snapshot. */
export const STREAMED_CHUNK: ChunkSize = { maxRows: 100_000, maxBytes: 8 * 1024 * 1024 };

interface Job {
  readonly sync: string;
  request: CopyRequest;
  /** What the sync has read of the stream. */
  position: Position;
  /** Cursors sent, oldest first, the last being where to read on. */
  sent: string[];
  done: boolean;
}

/**
 * The copies that syncs ask for: which chunk to read next, and how far ahead of the targets.
 * Nothing is stored here: a request says where to go on (B5: resumes at the chunk).
 */
export class Copies {
  readonly #tables: ReadonlyMap<string, TableName>;
  readonly #size: ChunkSize;
  #jobs = new Map<string, Job>();

  /** `tables`: captured tables by formatTable name. */
  constructor(tables: ReadonlyMap<string, TableName>, size: ChunkSize) {
    this.#tables = tables;
    this.#size = size;
  }

  /** Takes in what a sync asks for now; null: nothing. */
  update(sync: string, document: RequestDocument | null): void {
    const position = document?.position ?? START;
    const wanted = new Map(document?.copies.map((copy) => [jobKey(sync, copy), copy]));
    for (const [key, job] of this.#jobs) {
      if (job.sync === sync && !wanted.has(key)) this.#jobs.delete(key);
    }
    for (const [key, request] of wanted) {
      const job = this.#jobs.get(key);
      if (job === undefined) {
        this.#jobs.set(key, { sync, request, position, sent: [], done: false });
      } else {
        job.request = request;
        job.position = position;
        const applied = request.after === null ? -1 : job.sent.indexOf(request.after);
        if (applied >= 0) job.sent = job.sent.slice(applied);
      }
    }
  }

  /** After a loss in the queue nothing sent can be counted on: every job goes back to what is known applied. */
  restart(): void {
    for (const job of this.#jobs.values()) {
      job.sent = [];
      job.done = false;
    }
  }

  /** The next chunks to read, each of another table of one sync; none when there are none or enough is under way. */
  next(): readonly NextChunk[] {
    const seen = new Set<string>();
    for (const { sync } of this.#jobs.values()) {
      if (seen.has(sync)) continue;
      seen.add(sync);
      const next = this.#nextOf(sync);
      if (next.length > 0) return next;
    }
    return [];
  }

  /** A sync copies one table after the other, in the order it asks: parents before children. */
  #nextOf(sync: string): readonly NextChunk[] {
    const next: NextChunk[] = [];
    for (const job of this.#jobs.values()) {
      if (job.sync !== sync || job.done) continue;
      const table = this.#tables.get(job.request.table);
      const isHeldBack = table === undefined || this.#inFlight(job) >= IN_FLIGHT;
      if (isHeldBack || next.length === TABLES_AT_ONCE) break;
      const after = job.sent.at(-1) ?? job.request.after;
      const { binary } = job.request;
      next.push({ job: new CopyJob(job, after), request: { table, after, binary, ...this.#size } });
    }
    return next;
  }

  #inFlight(job: Job): number {
    return job.sent[0] === job.request.after ? job.sent.length - 1 : job.sent.length;
  }
}

export interface NextChunk {
  readonly job: CopyJob;
  readonly request: ChunkRequest;
}

/** One chunk's turn of a job. */
export class CopyJob {
  readonly #job: Job;
  readonly #after: string | null;

  constructor(job: Job, after: string | null) {
    this.#job = job;
    this.#after = after;
  }

  /** The sync passes by whatever is not behind this. */
  get position(): Position {
    return this.#job.position;
  }

  describe(chunk: Chunk): CopyInfo {
    const { sync, request } = this.#job;
    const { table, copy, attempt } = request;
    const { cursor, done, estimatedRows } = chunk;
    return { sync, copy, attempt, table, after: this.#after, cursor, done, estimatedRows };
  }

  /** Call when the chunk is in the queue. */
  sent(chunk: Chunk): void {
    this.#job.sent.push(chunk.cursor);
    this.#job.done = chunk.done;
  }
}

function jobKey(sync: string, copy: CopyRequest): string {
  return JSON.stringify([sync, copy.table, copy.copy, copy.attempt]);
}
