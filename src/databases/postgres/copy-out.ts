import type { Socket } from "node:net";
import { Bell } from "../../core/async.ts";
import { freeMemory } from "../../core/free-memory.ts";
import type { LinesBlock, LinesRoom } from "../../core/source.ts";

/** What the driver gives its queries of the connection. */
interface DriverConnection {
  readonly stream: Socket;
  query(text: string): void;
}

const COPY_DATA = 0x64; // 'd'
/** A message begins with a letter and its length, which counts itself. */
const HEAD_BYTES = 5;
/** Blocks that wait to be taken: with so many the socket is left unread, and the server waits. */
const WAITING_BLOCKS = 1;

/**
 * The rows of a COPY … TO STDOUT, in blocks of whole lines. A query of the driver that reads the socket itself:
 * each row is a message (the protocol says so), of which nothing is made but its bytes in the block. All
 * other messages, and with them the end and every error, go on to the driver.
 *
 * `pg-copy-streams` makes an object of each row and joins them in a buffer of its own, cut anywhere: whoever
 * makes messages of it has to look for the ends of lines, count them, and copy all once more.
 */
export class CopyOut {
  readonly #text: string;
  readonly #room: LinesRoom;
  #stream: Socket | null = null;
  #driver: (bytes: Buffer) => void = () => {};
  readonly #blocks: LinesBlock[] = [];
  readonly #bell = new Bell();
  #ended = false;
  #failure: { readonly error: unknown } | null = null;
  /** The block being filled, how far, and its rows. */
  #block: Buffer | null = null;
  #end = 0;
  #rows = 0;
  /** What has come of a message's head. */
  readonly #head = Buffer.alloc(HEAD_BYTES);
  #headBytes = 0;
  /** What is still to come of the message being read; is it a row? */
  #left = 0;
  #isRow = false;

  constructor(text: string, room: LinesRoom) {
    this.#text = text;
    this.#room = room;
  }

  /** The next block; null at the end. Throws what the server said instead. */
  async next(): Promise<LinesBlock | null> {
    for (;;) {
      const block = this.#blocks.shift();
      if (block !== undefined) {
        if (this.#blocks.length < WAITING_BLOCKS) this.#stream?.resume();
        return block;
      }
      if (this.#failure !== null) throw this.#failure.error;
      if (this.#ended) return null;
      await this.#bell.wait(60_000);
    }
  }

  // What the driver calls.

  submit(connection: DriverConnection): null {
    const { stream } = connection;
    const [driver] = stream.listeners("data");
    this.#stream = stream;
    this.#driver = driver as (bytes: Buffer) => void;
    stream.off("data", this.#driver);
    stream.on("data", this.#take);
    connection.query(this.#text);
    return null;
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#flush();
    this.#leave();
  }

  handleError(error: unknown): void {
    this.#failure ??= { error };
    this.#leave();
  }

  #leave(): void {
    const stream = this.#stream;
    this.#stream = null;
    if (stream !== null) {
      stream.off("data", this.#take);
      stream.on("data", this.#driver);
      stream.resume();
    }
    this.#ended = true;
    this.#bell.ring();
  }

  readonly #take = (bytes: Buffer): void => {
    let at = 0;
    while (at < bytes.length) {
      if (this.#left === 0) at = this.#begin(bytes, at);
      at = this.#goOn(bytes, at);
    }
    if (this.#blocks.length >= WAITING_BLOCKS) this.#stream?.pause();
    // All that is kept of them are copies.
    freeMemory(bytes);
  };

  /** Reads the head of a message, or what there is of it. */
  #begin(bytes: Buffer, start: number): number {
    let at = start;
    let [head, from] = [bytes, at];
    if (this.#headBytes > 0 || at + HEAD_BYTES > bytes.length) {
      const more = Math.min(HEAD_BYTES - this.#headBytes, bytes.length - at);
      bytes.copy(this.#head, this.#headBytes, at, at + more);
      this.#headBytes += more;
      at += more;
      if (this.#headBytes < HEAD_BYTES) return at;
      this.#headBytes = 0;
      [head, from] = [this.#head, 0];
    } else at += HEAD_BYTES;
    this.#left = head.readInt32BE(from + 1) - (HEAD_BYTES - 1);
    this.#isRow = head[from] === COPY_DATA;
    if (this.#isRow) this.#makeRoom(this.#left);
    else this.#driver(Buffer.from(head.subarray(from, from + HEAD_BYTES)));
    return at;
  }

  /** Takes what has come of the message that was begun. */
  #goOn(bytes: Buffer, at: number): number {
    const part = Math.min(this.#left, bytes.length - at);
    if (part === 0) return at;
    this.#left -= part;
    if (!this.#isRow) this.#driver(Buffer.from(bytes.subarray(at, at + part)));
    else if (this.#block !== null) {
      bytes.copy(this.#block, this.#end, at, at + part);
      this.#end += part;
      if (this.#left === 0) this.#rows++;
    }
    return at + part;
  }

  /** A row that does not fit begins a block; one that is larger than a block is one by itself. */
  #makeRoom(bytes: number): void {
    if (this.#block !== null && this.#end + bytes > this.#block.length) this.#flush();
    if (this.#block !== null) return;
    const { headroom, size } = this.#room;
    // Not of the pool, whose pieces are small.
    this.#block = Buffer.allocUnsafeSlow(headroom + Math.max(size, bytes));
    this.#end = headroom;
  }

  #flush(): void {
    if (this.#block === null) return;
    this.#blocks.push({ bytes: this.#block.subarray(0, this.#end), rows: this.#rows });
    this.#block = null;
    this.#rows = 0;
    this.#bell.ring();
  }
}
