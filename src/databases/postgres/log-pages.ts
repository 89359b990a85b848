import type { Change } from "../../core/change.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { freeMemory } from "../../core/free-memory.ts";
import { type ChangesPage, parseLine, parseLongLine } from "../../core/row-lines.ts";
import type { LinesBlock } from "../../core/source.ts";
import { Connection } from "./connection.ts";
import { InsertLines } from "./insert-lines.ts";
import type { LogDecoder } from "./log-rows.ts";
import { rowsBetween, type SnapshotParts } from "./snapshot.ts";

const PAGE_ROWS = 1_000;
const PAGE_CHARACTERS = 1_000_000;
const BLOCKS = { headroom: 0, size: 64 * 1024 };

/** A batch, and the snapshots that it lies between. */
export interface BatchBounds {
  readonly batch: number;
  readonly from: SnapshotParts;
  readonly to: SnapshotParts;
}

/** Streams batches of any size out of the log, on a session of its own, in flat memory. */
export class LogPages {
  readonly #options: DatabaseOptions;
  readonly #decoder: LogDecoder;
  #idle: Connection | null = null;

  constructor(options: DatabaseOptions, decoder: LogDecoder) {
    this.#options = options;
    this.#decoder = decoder;
  }

  /** The rows between two snapshots in log order, those after `afterId` only. */
  async *between(
    { batch, from, to }: BatchBounds,
    afterId: string | null,
  ): AsyncGenerator<ChangesPage> {
    const connection = this.#idle ?? (await Connection.open(this.#options, "relay reader"));
    this.#idle = null;
    const after = afterId === null ? "" : ` WHERE id > ${BigInt(afterId)}`;
    const query = `SELECT * FROM (${rowsBetween(from, to)}) unseen${after} ORDER BY id`;
    const inserts = new InsertLines(this.#decoder, batch);
    let page: Change[] = [];
    let characters = 0;
    try {
      // COPY gives rows as fast as the reader takes them: a socket nobody reads stops the server.
      for await (const block of connection.copyOut(query, BLOCKS)) {
        const { taken, before } = inserts.take(block);
        if (before !== null) {
          // What was read one by one stands before the run.
          if (page.length > 0) yield page;
          page = [];
          characters = 0;
          yield before;
        }
        if (taken) continue;
        characters += block.bytes.length;
        this.#decode(block, batch, page);
        if (page.length < PAGE_ROWS && characters < PAGE_CHARACTERS) continue;
        yield page;
        page = [];
        characters = 0;
      }
      if (page.length > 0) yield page;
      const rest = inserts.finish();
      if (rest !== null) yield rest;
      this.#keep(connection);
    } finally {
      // A reader that leaves early has already closed the session (see copyOut).
      if (this.#idle !== connection) await connection.close();
    }
  }

  /** Apart, so that neither the bytes nor their text are held while the changes are on their way: a row may have megabytes. */
  #decode({ bytes, rows }: LinesBlock, batch: number, into: Change[]): void {
    if (rows === 1 && bytes.length > BLOCKS.size) {
      const fields = parseLongLine(bytes.subarray(0, -1));
      freeMemory(bytes);
      into.push(this.#decoder.change(fields, batch));
      return;
    }
    const lines = bytes.toString("utf8").split("\n");
    lines.pop(); // what follows the last newline
    for (const line of lines) into.push(this.#decoder.change(parseLine(line), batch));
  }

  async close(): Promise<void> {
    await this.#idle?.close();
    this.#idle = null;
  }

  #keep(connection: Connection): void {
    if (this.#idle === null && !connection.lost) this.#idle = connection;
  }
}
