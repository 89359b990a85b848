import type { DatabaseOptions } from "../../core/database.ts";
import type { Chunk, ChunkRequest, LinesBlock, LinesRoom } from "../../core/source.ts";
import { planChunk } from "./chunk.ts";
import { Connection } from "./connection.ts";
import type { StoredLayout } from "./layouts.ts";

/**
 * Streams chunks of tables in the snapshot of a cut, on a session of its own: the transaction of the cut
 * must be committed before a row is published (batch rule B1), and its snapshot would end with it.
 */
export class ChunkReader {
  readonly #options: DatabaseOptions;
  #connection: Connection | null = null;
  /** Between begin() and the end of a chunk's rows. */
  #busy = false;

  constructor(options: DatabaseOptions) {
    this.#options = options;
  }

  /** Takes over a snapshot that another session has exported; that session may then commit. */
  async begin(snapshot: string): Promise<void> {
    if (this.#busy || this.#connection?.lost) await this.close();
    this.#connection ??= await Connection.open(this.#options, "relay copier");
    this.#busy = true;
    await this.#connection.script(
      `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT '${snapshot}'`,
    );
  }

  /** The next rows of a table in the snapshot given to begin(). Null when it was altered meanwhile. */
  async read(layout: StoredLayout, request: ChunkRequest): Promise<Chunk | null> {
    const connection = this.#connection as Connection;
    const plan = await planChunk(connection, layout, request);
    if (plan === null) return null;
    const { chunk, filtered, copySql } = plan;
    return {
      ...chunk,
      content: {
        kind: "lines",
        filtered,
        blocks: (room) => this.#rows(connection, copySql, room),
      },
    };
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    if (this.#busy) connection?.destroy();
    else await connection?.close();
    this.#busy = false;
  }

  async *#rows(
    connection: Connection,
    copySql: string | null,
    room: LinesRoom,
  ): AsyncGenerator<LinesBlock> {
    if (copySql !== null) yield* connection.copyOut(copySql, room);
    await connection.commit();
    this.#busy = false;
  }
}
