import type { DatabaseOptions } from "../../core/database.ts";
import { parseFilters } from "../../core/row-lines.ts";
import type { Chunk, LinesBlock, LinesRoom } from "../../core/source.ts";
import {
  type AskedChunk,
  type ChunkLook,
  type ChunkPlan,
  lookAtChunk,
  readSmall,
  type WantedChunk,
} from "./chunk.ts";
import { Connection } from "./connection.ts";
import { KeyRanges } from "./key-ranges.ts";
import { LOCK_TIMEOUT_MS } from "./locks.ts";

const SAVEPOINT = "tidemark_looks";

/**
 * Reads chunks of tables in the snapshot of a cut, on a session of its own: the transaction of the cut
 * must be committed before a row is published (batch rule B1), and its snapshot would end with it.
 *
 * A large chunk streams. Small tables are read together, in as many ways to the server as one of them takes: twice as many
 * as the time before, and one again after a large chunk, behind which nothing is given.
 */
export class ChunkReader {
  readonly #options: DatabaseOptions;
  #connection: Connection | null = null;
  /** Between begin() and the end of a chunk's rows. */
  #busy = false;
  /** So many tables are looked at next. */
  #together = 1;

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

  /**
   * The next rows of these tables in the snapshot given to begin(), from the first on: of one or more. None when the first was
   * altered meanwhile.
   */
  async read(asked: readonly AskedChunk[]): Promise<readonly Chunk[]> {
    const connection = this.#connection as Connection;
    const wanted = await Promise.all(
      asked
        .slice(0, this.#together)
        .map(async (one) => ({ ...one, ranges: await KeyRanges.of(connection, one.layout) })),
    );
    const looks = await lookAtAll(connection, wanted);
    const [first] = looks;
    if (!first) {
      // Who alters it next, or one of those behind it, must not wait for the next cut.
      await connection.script("ROLLBACK");
      this.#busy = false;
      return [];
    }
    if (first.kind === "large") {
      this.#together = 1;
      // A table altered meanwhile waits for all that were looked at, and the rows may take long.
      if (looks.length > 1) await connection.script(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
      return [this.#streamed(connection, await first.plan())];
    }
    return this.#held(connection, wanted, looks);
  }

  async close(): Promise<void> {
    const connection = this.#connection;
    this.#connection = null;
    if (this.#busy) connection?.destroy();
    else await connection?.close();
    this.#busy = false;
  }

  /** The small ones up to the first that is not. */
  async #held(
    connection: Connection,
    wanted: readonly WantedChunk[],
    looks: readonly (ChunkLook | null)[],
  ): Promise<readonly Chunk[]> {
    const reads: Promise<Chunk>[] = [];
    for (const [i, look] of looks.entries()) {
      if (look?.kind !== "small") break;
      reads.push(heldChunk(connection, wanted[i] as WantedChunk, look.plan));
    }
    const chunks = await Promise.all(reads);
    // A condition may ask a table that somebody has locked, and fails where that is not waited for: so it is asked alone.
    const doubtful = looks.length > 1 ? chunks.findIndex(hasFailed) : -1;
    if (doubtful === 0) {
      await connection.script(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
      return this.#held(connection, wanted, looks.slice(0, 1));
    }
    if (doubtful > 0) chunks.splice(doubtful);
    this.#together = 2 * chunks.length;
    await connection.commit();
    this.#busy = false;
    return chunks;
  }

  #streamed(connection: Connection, plan: ChunkPlan): Chunk {
    const { chunk, filtered, binary } = plan;
    const blocks = (room: LinesRoom) => this.#rows(connection, plan, room);
    return { ...chunk, content: { kind: "lines", filtered, binary, blocks } };
  }

  async *#rows(
    connection: Connection,
    { select, binary }: ChunkPlan,
    room: LinesRoom,
  ): AsyncGenerator<LinesBlock> {
    if (select !== null) yield* connection.copyOut(select, room, binary);
    await connection.commit();
    this.#busy = false;
  }
}

/** The first, and the others as far as nothing is in their way. */
async function lookAtAll(
  connection: Connection,
  [first, ...others]: readonly WantedChunk[],
): Promise<readonly (ChunkLook | null)[]> {
  if (first === undefined) return [];
  const [look, further] = await Promise.all([
    lookAtChunk(connection, first),
    lookFurther(connection, others),
  ]);
  return [look, ...further];
}

/**
 * Whatever is in the way of one of these is told when it comes first. A table that somebody has locked is not waited for while
 * others are held: he may want one of them next.
 */
async function lookFurther(
  connection: Connection,
  wanted: readonly WantedChunk[],
): Promise<readonly (ChunkLook | null)[]> {
  if (wanted.length === 0) return [];
  try {
    const [, looks] = await Promise.all([
      connection.script(`SAVEPOINT ${SAVEPOINT}; SET LOCAL lock_timeout TO ${LOCK_TIMEOUT_MS}`),
      Promise.all(wanted.map((one) => lookAtChunk(connection, one))),
    ]);
    return looks;
  } catch (error) {
    if (connection.lost) throw error;
    await connection.script(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
    return [];
  }
}

async function heldChunk(
  connection: Connection,
  wanted: WantedChunk,
  plan: ChunkPlan,
): Promise<Chunk> {
  const { chunk, filtered } = plan;
  const lines = await readSmall(connection, wanted, plan);
  const rows = filtered ? lines.map(([, ...row]) => row) : lines;
  const filters = lines.map(([letters]) => parseFilters(filtered ? (letters ?? "") : ""));
  return { ...chunk, content: { kind: "rows", rows, filters } };
}

/** Is there a row for which a condition failed? */
function hasFailed({ content }: Chunk): boolean {
  return content.kind === "rows" && content.filters.some((answers) => answers.includes(null));
}
