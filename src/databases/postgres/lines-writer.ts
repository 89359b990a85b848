import { once } from "node:events";
import type { Writable } from "node:stream";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import type { RowLines } from "../../core/row-lines.ts";
import type { LinesWriter } from "../../core/target.ts";
import { copySql, type WritableTable } from "./apply-sql.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";
import { altered } from "./pins.ts";
import { HEADER, TRAILER } from "./row-blocks.ts";

const SAVEPOINT = "tidemark_lines";
/** Of a value in binary: it has not as many bytes as its column reads. */
const PROTOCOL_VIOLATION = "08P01";

export interface LinesHooks {
  readonly binary: boolean;
  /** Checks what was put off, before the savepoint goes. */
  readonly check: readonly string[];
  /** Is told of all that is written. */
  readonly note: (lines: RowLines) => void;
}

/** A COPY that is open: the server takes in rows while the next ones are still under way to us. */
export class PostgresLines implements LinesWriter {
  readonly #connection: Connection;
  readonly #hooks: LinesHooks;
  readonly #written = Promise.withResolvers<void>();
  readonly #stream = Promise.withResolvers<Writable>();
  readonly #copying: Promise<void>;
  /** Has the server refused the copy? The stream is not closed by that, but may not be written any more. */
  #isRefused = false;

  static async open(
    connection: Connection,
    table: WritableTable,
    hooks: LinesHooks,
  ): Promise<PostgresLines> {
    await connection.script(`SAVEPOINT ${SAVEPOINT}; SET CONSTRAINTS ALL DEFERRED`);
    return new PostgresLines(connection, table, hooks);
  }

  private constructor(connection: Connection, table: WritableTable, hooks: LinesHooks) {
    this.#connection = connection;
    this.#hooks = hooks;
    const { binary } = hooks;
    this.#copying = connection.copyIn(copySql(table, binary), async (stream) => {
      stream.once("error", () => {
        this.#isRefused = true;
      });
      if (binary) stream.write(HEADER);
      this.#stream.resolve(stream);
      await this.#written.promise;
      if (binary && this.#mayWrite(stream)) stream.write(TRAILER);
    });
    // An error is told by close(); here it only must not leave anyone waiting.
    this.#copying.catch((error: unknown) => this.#stream.reject(error));
    this.#stream.promise.catch(() => {});
  }

  async write(lines: RowLines): Promise<void> {
    this.#hooks.note(lines);
    const { bytes } = lines;
    const stream = await this.#stream.promise.catch(() => null);
    if (stream === null || !this.#mayWrite(stream) || stream.write(bytes)) return;
    await once(stream, "drain").catch(() => {});
  }

  #mayWrite(stream: Writable): boolean {
    return !stream.destroyed && !this.#isRefused;
  }

  async close(): Promise<void> {
    this.#written.resolve();
    try {
      await this.#copying;
      await this.#connection.script(
        [...this.#hooks.check, `RELEASE SAVEPOINT ${SAVEPOINT}`].join("; "),
      );
    } catch (error) {
      // The types were the same when this session looked at them.
      if (this.#hooks.binary && sqlState(error) === PROTOCOL_VIOLATION) {
        throw altered(this.#connection.database, error);
      }
      if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT", "TM-VALUE-REFUSED")) throw error;
      await this.#connection.script(
        `ROLLBACK TO SAVEPOINT ${SAVEPOINT}; RELEASE SAVEPOINT ${SAVEPOINT}`,
      );
      throw error;
    }
  }

  /** The transaction is rolled back next. */
  async abort(): Promise<void> {
    this.#written.reject(new TidemarkError("TM-INTERNAL", "The copy was given up."));
    await this.#copying.catch(() => {});
  }
}
