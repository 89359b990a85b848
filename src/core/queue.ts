import type { Finding } from "./database.ts";
import { TidemarkError } from "./errors.ts";
import type { Logger } from "./log.ts";
import { comparePositions, type Position } from "./position.ts";

/**
 * The queue contract: what relay and appliers share, and all they share.
 *
 * Per source one *stream*: an append-only, guarded, trimmed sequence of messages that any number of
 * readers follow independently. Beside it *documents*: small named values, watched (layouts, progress of
 * syncs, requests): the last write wins, unless it is guarded by what it replaces. State, not events, so
 * that losing one is mended by writing it again.
 *
 * The queue is never the only copy (G5): the source's log keeps what targets have not confirmed.
 * A queue may therefore lose anything; what it may not do is reorder, or let two writers interleave.
 */
export interface Queue {
  readonly limits: QueueLimits;
  readonly documents: Documents;
  openStream(source: string): Promise<QueueStream>;
  /** What `doctor` tells of the way to it; of a file there is none. */
  diagnose?(): readonly Finding[];
  /** Safe to call again. What is asked of it afterwards throws {@link queueClosed}. */
  close(): Promise<void>;
}

export interface QueueLimits {
  /** The largest body one message may have, in bytes, as learnt from the server. */
  readonly maxMessageBytes: number;
}

/** What is asked of a queue after close(), or waited for at that moment. */
export function queueClosed(): TidemarkError {
  return new TidemarkError(
    "TM-USAGE",
    "The queue is closed: the pipeline it belongs to was stopped.",
    {
      fix: "Ask before stop(), or open another pipeline for it.",
    },
  );
}

/** A kind of queue. One folder in src/queues/, one line in src/pipeline/registry.ts. */
export interface QueueAdapter {
  readonly kind: string;
  readonly schemes: readonly string[];
  /** Throws TM-CONNECT-FAILED, TM-AUTH-FAILED, TM-DRIVER-MISSING, TM-QUEUE-UNSAFE (settings that break the contract). */
  open(options: QueueOptions): Promise<Queue>;
  /** False of a file that opening would make. */
  exists?(url: string): boolean;
  /** Of one that does not exist: throws where opening could not make it either. */
  checkMakeable?(url: string): void;
}

export interface QueueOptions {
  readonly url: string;
  readonly logger: Logger;
  /** Bound of one stream in bytes; reaching it makes append throw TM-QUEUE-FULL (as may a server without room: `isWithinBound`). */
  readonly maxStreamBytes: number;
}

/** What a message is, without opening it. */
export interface Mark extends Position {
  readonly timeline: string;
  /** 0, 1, 2 … within the batch or chunk. */
  readonly piece: number;
  /** A piece too large for one message travels as fragments 0 … fragments-1. */
  readonly fragment: number;
  readonly fragments: number;
  /** The last piece of its batch or chunk? */
  readonly last: boolean;
  /** crc32 of the piece up to the end of this body. */
  readonly checksum: number;
}

/** Is this the last message of its batch or chunk? */
export function isComplete(mark: Mark): boolean {
  return mark.last && mark.fragment === mark.fragments - 1;
}

/** Do both stand for the same content? */
export function isSameMark(one: Mark, other: Mark): boolean {
  const samePlace = one.timeline === other.timeline && comparePositions(one, other) === 0;
  const samePart = one.piece === other.piece && one.fragment === other.fragment;
  return samePlace && samePart && one.checksum === other.checksum;
}

export interface QueueMessage {
  readonly mark: Mark;
  readonly body: Uint8Array;
  /**
   * Gives back the body's memory; nobody may read it after that. May be called by who has the message last: a
   * queue that has stored a copy of it and was asked to append it, or a reader that was given it.
   */
  release?(): void;
}

/** The end of a stream: `sequence` guards the next append; `mark` is null when nothing was ever appended (or all was reset). */
export interface StreamTail {
  readonly sequence: number;
  readonly mark: Mark | null;
}

export interface QueueStream {
  tail(): Promise<StreamTail>;
  /**
   * Appends in order, all stored durably (as the server understands it) before it resolves, only
   * if the stream still ends at `after`; else throws TM-QUEUE-CONFLICT, having appended nothing or
   * a prefix. Gives the new tail. An unknown outcome (connection lost) throws; read tail() again.
   * Readers may be given messages before that: the source still holds them, and a reader that is ahead
   * of a queue which has lost them passes them by when they are sent again.
   */
  append(after: StreamTail, messages: readonly QueueMessage[]): Promise<StreamTail>;
  /**
   * Messages in stream order, beginning with the first whose position is after `after`, then live
   * as they come, until the signal aborts (then it ends without error). The same position may come
   * again (a resend). When the stream is reset or its start trimmed, reading goes on with what is there.
   * Bounded read-ahead.
   */
  read(after: Position, signal: AbortSignal): AsyncIterable<QueueMessage>;
  /**
   * Removes messages of batches up to and including `batch` (of that one only chunks up to `chunk`,
   * when given), except that tail() still tells the last mark.
   */
  trim(batch: number, chunk?: number): Promise<void>;
  /** Empties the stream, so that earlier batches can be sent again. */
  reset(): Promise<void>;
  /**
   * Lets the stream hold so many bytes where that is more than its bound, until it is told otherwise (0: the bound) or
   * opened anew. What it holds beyond its bound stays. No append may be under way. Throws TM-QUEUE-LIMIT when the
   * server has no room for as many.
   */
  allow(bytes: number): Promise<void>;
  stats(): Promise<StreamStats>;
}

export interface StreamStats {
  readonly messages: number;
  readonly bytes: number;
}

/** Small JSON values by key (segments joined by `/`; any characters in a segment). */
export interface Documents {
  put(key: string, value: unknown): Promise<void>;
  get(key: string): Promise<unknown | null>;
  /** As get, with what {@link replace} is guarded by; value null where nothing stands. */
  read(key: string): Promise<StandingDocument>;
  /**
   * Puts the value only if the key still stands at `revision`, and gives its new revision. Throws TM-QUEUE-CONFLICT
   * when it was put or removed since, or the queue has lost it. An unknown outcome (connection lost) throws; read again.
   */
  replace(key: string, value: unknown, revision: number): Promise<number>;
  /** With a revision: only if the key still stands at it; else, and where the outcome is unknown, as {@link replace}. */
  remove(key: string, revision?: number): Promise<void>;
  /** Key to value, of keys that begin with `prefix`. */
  list(prefix: string): Promise<ReadonlyMap<string, unknown>>;
  /** First what stands, then every later write (removal: value null), until the signal aborts. Quick successive writes of a key may be merged into the last. */
  watch(prefix: string, signal: AbortSignal): AsyncIterable<DocumentEntry>;
}

export interface StandingDocument {
  readonly value: unknown | null;
  /**
   * Another one after each put; 0 where the queue knows nothing of the key. A queue that was emptied may give out the
   * same ones again.
   */
  readonly revision: number;
}

export interface DocumentEntry {
  readonly key: string;
  readonly value: unknown | null;
}
