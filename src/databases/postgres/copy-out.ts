import type { Socket } from "node:net";

/** What the driver gives its queries of the connection. */
interface DriverConnection {
  readonly stream: Socket;
  query(text: string): void;
}

/** Held for a reader that is slower than the server: then nothing more is read. */
const HELD_BYTES = 1024 * 1024;

const HEADER_BYTES = 5;
const COPY_DATA = 0x64; // d
const COPY_OUT_RESPONSE = 0x48; // H
/** What a server may send at any time: a setting that changed, a notice, a notification. */
const ASIDES = new Set([0x53, 0x4e, 0x41]); // S, N, A

/**
 * COPY … TO STDOUT as a query of the driver: while rows come it reads the socket itself. The server sends
 * each row as a message of its own; in a chunk of the socket the rows are moved together where they lie, and
 * nothing is made for any of them.
 */
export class CopyOut implements AsyncIterable<Buffer> {
  readonly #text: string;
  readonly #chunks: Buffer[] = [];
  #held = 0;
  #ended = false;
  #failure: { readonly error: unknown } | null = null;
  #wake: (() => void) | null = null;
  #stream: Socket | null = null;
  /** The driver's own reader of the socket. */
  #driver: ((bytes: Buffer) => void) | null = null;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  #headerBytes = 0;
  /** Of the message that is being read: bytes still to come, and whether they are rows. */
  #left = 0;
  #isData = false;

  constructor(text: string) {
    this.#text = text;
  }

  /** Rows, cut anywhere. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Buffer> {
    for (;;) {
      const chunk = this.#chunks.shift();
      if (chunk !== undefined) {
        this.#held -= chunk.length;
        if (this.#held < HELD_BYTES) this.#stream?.resume();
        yield chunk;
      } else if (this.#failure !== null) throw this.#failure.error;
      else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
    }
  }

  // What the driver calls.

  submit(connection: DriverConnection): void {
    const { stream } = connection;
    const [driver] = stream.listeners("data");
    this.#stream = stream;
    this.#driver = driver as (bytes: Buffer) => void;
    stream.off("data", this.#driver);
    stream.on("data", this.#take);
    connection.query(this.#text);
  }

  handleError(error: unknown): void {
    this.#giveBack();
    this.#failure = { error };
    this.#ring();
  }

  handleCommandComplete(): void {}

  handleReadyForQuery(): void {
    this.#ended = true;
    this.#ring();
  }

  readonly #take = (chunk: Buffer): void => {
    const end = chunk.length;
    let at = 0;
    /** Rows found so far stand in front of here. */
    let rows = 0;
    while (at < end) {
      if (this.#left === 0) {
        const isSplit = this.#headerBytes > 0 || end - at < HEADER_BYTES;
        if (isSplit) {
          at = this.#takeHeader(chunk, at);
          if (this.#headerBytes < HEADER_BYTES) break;
          this.#headerBytes = 0;
        }
        const header = isSplit ? this.#header : chunk;
        const start = isSplit ? 0 : at;
        const code = header[start] as number;
        this.#isData = code === COPY_DATA;
        if (!this.#isData && code !== COPY_OUT_RESPONSE && !ASIDES.has(code)) {
          // The end, or an error: what comes from here on is for the driver.
          const rest = chunk.subarray(isSplit ? at : start);
          const driver = this.#giveBack();
          this.#push(chunk, rows);
          driver?.(isSplit ? Buffer.concat([this.#header, rest]) : rest);
          return;
        }
        this.#left = header.readUInt32BE(start + 1) + 1 - HEADER_BYTES;
        if (!isSplit) at += HEADER_BYTES;
      }
      const next = Math.min(end, at + this.#left);
      if (this.#isData) {
        chunk.copyWithin(rows, at, next);
        rows += next - at;
      }
      this.#left -= next - at;
      at = next;
    }
    this.#push(chunk, rows);
  };

  /** Collects a header that two chunks share; gives where to go on. */
  #takeHeader(chunk: Buffer, from: number): number {
    const copied = chunk.copy(this.#header, this.#headerBytes, from);
    this.#headerBytes += copied;
    return from + copied;
  }

  #push(chunk: Buffer, rows: number): void {
    if (rows === 0) return;
    this.#chunks.push(chunk.subarray(0, rows));
    this.#held += rows;
    if (this.#held >= HELD_BYTES) this.#stream?.pause();
    this.#ring();
  }

  /** The socket is the driver's again. */
  #giveBack(): ((bytes: Buffer) => void) | null {
    const [stream, driver] = [this.#stream, this.#driver];
    if (stream === null || driver === null) return null;
    this.#stream = null;
    this.#driver = null;
    stream.off("data", this.#take);
    stream.on("data", driver);
    stream.resume();
    return driver;
  }

  #ring(): void {
    this.#wake?.();
    this.#wake = null;
  }
}
