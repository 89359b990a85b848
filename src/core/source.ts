import type { Change, FilterAnswer, Layout } from "./change.ts";
import type { Finding, Identified } from "./database.ts";
import type { BatchHeader } from "./position.ts";
import type { ChangesPage } from "./row-lines.ts";
import type { TableName, TableSchema } from "./table.ts";
import type { Row } from "./value.ts";

/**
 * The source contract: from committed row changes to numbered batches.
 *
 * What every implementation keeps (guarantees G1, G3; batch rules B1-B3):
 * - A batch is exactly what one snapshot of the source sees and no earlier batch holds: whole
 *   transactions, none cut. Within it, changes are in log order.
 * - The record of a cut is committed durably before `cut` resolves, and that commit also makes
 *   every earlier commit in the batch durable.
 * - A batch is a pure function of its record and of log rows that never change: reading it again
 *   gives the same changes in the same order, until it is purged.
 * - Numbers are 1, 2, 3 … without a hole in a timeline; hashes chain (core/hash.ts).
 * - No timeout decides that a change does not exist; a long transaction delays only itself.
 */
export interface Source extends Identified {
  readonly capabilities: SourceCapabilities;
  /** What `install` would run; changes nothing. Throws TM-TABLE-NO-KEY, TM-TABLE-UNSUPPORTED. */
  planCapture(tables: readonly CaptureTable[]): Promise<CapturePlan>;
  /** Checks everything that can break capture of these tables; the fix of each finding is exact. */
  diagnose(tables: readonly CaptureTable[]): Promise<readonly Finding[]>;
  /**
   * Takes the relay's lease and opens the change log, creating our own tables (not the triggers)
   * where they are missing. Null while another relay holds the lease.
   */
  openChangeLog(): Promise<ChangeLog | null>;
  close(): Promise<void>;
}

export interface SourceCapabilities {
  /** Can capture see TRUNCATE? */
  readonly truncate: boolean;
  /** Are the rows of a chunk streamed? Then its size is no matter of memory, and a large one costs less. */
  readonly streamsChunks: boolean;
}

/** A table to capture. */
export interface CaptureTable {
  readonly schema: TableSchema;
  /** The columns to log, in table order; always holds the key. Others never reach the log. */
  readonly columns: readonly string[];
  /**
   * SQL conditions over the row (the source's own dialect); each is evaluated when a row is logged, and
   * none may make the application's own statement fail.
   */
  readonly filters: readonly string[];
  /** Does some sync take whichever columns the table has? Then one that comes later is schema drift. */
  readonly takesNewColumns: boolean;
}

export interface CapturePlan {
  /** Every statement still to run, in order; empty when capture stands as asked. */
  readonly statements: readonly string[];
  /** For people: the capture shape chosen for each table and why. */
  readonly notes: readonly string[];
  /** Rights that are still to be granted for it, each with its statement; as `diagnose` finds them. */
  readonly lacks?: readonly Finding[];
}

/** The relay's session with the log. One holder at a time; every call may throw TM-RELAY-FENCED when the lease is lost. */
export interface ChangeLog {
  /** Identity of this history of the source. A restored, cloned or recreated source is found out and has another. */
  readonly timeline: string;
  readonly batches: Batches;
  readonly subscribers: Subscribers;
  /**
   * Installs or alters the capture of these tables, idempotently, and leaves that of others alone.
   * Resolves when every transaction that could have written uncaptured has ended, so that a
   * snapshot begun afterwards, plus the log, misses nothing. Gives the layouts of all captured
   * tables, old ones included while the log may hold rows of them.
   */
  capture(tables: readonly CaptureTable[]): Promise<readonly Layout[]>;
  /**
   * Forgets how these tables are captured: the next `capture` takes them as they then stand, and does not
   * object that changes have gone by unseen (TM-CAPTURE-BROKEN, TM-TRUNCATE-UNSEEN). For tables that every
   * target copies anew. What was logged of them before can still be read. `mayEnd`: tells whether nobody else has this log kept,
   * so that until then nothing need be logged of them; asked, since that takes its time, where capture stands in the way of an ALTER.
   */
  forget(tables: readonly TableName[], mayEnd?: () => Promise<boolean>): Promise<void>;
  /**
   * Resolves when the log may have grown since the last cut, or when the signal aborts. A change
   * committed before or during the call is never slept over. Costs the source next to nothing
   * while nothing happens. `expected`: the last cut found some, so that it may resolve for nothing after a moment,
   * and leave it to the next cut to look.
   */
  waitForChanges(signal: AbortSignal, expected?: boolean): Promise<void>;
  /**
   * Told after each cut: how many transactions a second are being cut (0 where changes do not name
   * theirs). For sources whose writers can wake the relay: under load they had better not.
   */
  observe?(transactions: number): void;
  stats(): Promise<LogStats>;
  /**
   * For people: what keeps changes from the log, or makes writes of the application fail, as far as it is known by now, each
   * with its mending. None where absent.
   */
  readonly warnings?: readonly string[];
  /** So far apart purges are to be while there is room, where each may cost the application something. Default 0. */
  readonly purgeEveryMs?: number;
  close(): Promise<void>;
}

export interface LogStats {
  readonly rows: number;
  readonly bytes: number;
}

export interface Batches {
  /** The newest batch of the timeline, null before the first. */
  last(): Promise<BatchHeader | null>;
  /** Null when purged or never cut. */
  header(batch: number): Promise<BatchHeader | null>;
  /**
   * See {@link Cut}. `chunks`: what is to be read next, in this order, each of another table. The previous cut's pages and
   * chunks must have been read to the end or returned.
   */
  cut(chunks?: readonly ChunkRequest[]): Promise<Cut>;
  /**
   * Throws TM-SCHEMA-DRIFT, TM-CAPTURE-BROKEN when a captured table has been altered before this call, also where nothing
   * was written to it since. False where it cannot be told now, and is to be asked again. Absent where each cut sees that.
   */
  look?(): Promise<boolean>;
  /** The changes of a batch in order, in pages of bounded size. Throws TM-BATCH-PURGED. */
  pages(batch: number): AsyncIterable<ChangesPage>;
  /** Deletes the changes of batches up to and including this one; keeps the newest header. Never blocks writers. */
  purge(upTo: number): Promise<void>;
}

export interface Cut {
  /** The new batch; null when nothing had changed (no batch is made). */
  readonly header: BatchHeader | null;
  /** The new batch's changes; empty when header is null. */
  readonly pages: AsyncIterable<ChangesPage>;
  /**
   * Of the chunks asked for the first, and as many of those behind it as cost the source little more; none behind one that is not
   * `done`. As of exactly the newest batch (the one just cut, or the last). To be read in this order. None when the first cannot be
   * read in this snapshot: ask again.
   */
  readonly chunks: readonly Chunk[];
  /**
   * Transactions that had begun since the cut before and were still in progress, though a later one had ended: how
   * closely the writers stand. Not given where the source cannot tell.
   */
  readonly overtaken?: number;
}

/**
 * Asks for the next rows of a table, in ranges of its key. A table without a key is given whole, in one
 * chunk that streams: rows that are equal could not be told apart by what came between two chunks.
 */
export interface ChunkRequest {
  readonly table: TableName;
  /** `Chunk.cursor` of the chunk before; null for the first. */
  readonly after: string | null;
  readonly maxRows: number;
  /** Soft bound, which may be by estimate: at least one row is always given. */
  readonly maxBytes: number;
  /** May they come in binary, see {@link RowLines}? A source that cannot, or would have to change them, gives them otherwise. */
  readonly binary?: boolean | undefined;
}

export interface Chunk {
  /** Id of the layout of the rows. */
  readonly layout: number;
  readonly content: ChunkRows | ChunkPages | ChunkLines;
  /** Opaque; holds the last key given and the upper key fixed by the first chunk. */
  readonly cursor: string;
  /** No rows are left up to the upper key. */
  readonly done: boolean;
  /** The source's own estimate of the table's rows, for progress display; null when unknown. */
  readonly estimatedRows: number | null;
}

/** Rows held in memory. */
export interface ChunkRows {
  readonly kind: "rows";
  readonly rows: readonly Row[];
  /** Per row, as in {@link Change}. */
  readonly filters: readonly (readonly FilterAnswer[])[];
}

/** Rows in pages of bounded size. To be read to the end, or left, before the next cut. */
export interface ChunkPages {
  readonly kind: "pages";
  readonly pages: AsyncIterable<Omit<ChunkRows, "kind">>;
}

/** Rows as they come from the source, in the bytes of core/row-lines.ts. */
export interface ChunkLines {
  readonly kind: "lines";
  /** See {@link RowLines}. */
  readonly filtered: boolean;
  readonly binary?: boolean | undefined;
  /** To be called once; to be read to the end, or left, before the next cut. */
  blocks(room: LinesRoom): AsyncIterable<LinesBlock>;
}

/** Whole lines, or whole rows in binary. */
export interface LinesBlock {
  /** In memory of its own: the room asked for, with anything in it, and behind it the lines. */
  readonly bytes: Buffer;
  readonly rows: number;
}

/** How blocks are to be made, so that nobody has to copy them. */
export interface LinesRoom {
  /** Bytes left free before the lines of each block. */
  readonly headroom: number;
  /** The lines of a block take no more bytes than this; a longer line is a block by itself. */
  readonly size: number;
}

/** Who reads this source and what each has confirmed: what purge may not overtake. Stored in the source. */
export interface Subscribers {
  /** Sync name to the last batch it has confirmed. */
  list(): Promise<ReadonlyMap<string, number>>;
  set(sync: string, confirmed: number): Promise<void>;
  remove(sync: string): Promise<void>;
}
