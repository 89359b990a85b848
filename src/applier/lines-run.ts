import { isTidemarkError } from "../core/errors.ts";
import type { RowLines } from "../core/row-lines.ts";
import type { BoundTable, LinesWriter, TargetTransaction } from "../core/target.ts";

/** A run that cannot be written is taken row by row, and until its end is known it is held in memory. */
const RUN_BYTES = 8 * 1024 * 1024;

/** Rows of a copy on their way into one table, piece after piece, as one statement of the target. */
export class LinesRun {
  readonly #table: BoundTable;
  readonly #binary: boolean;
  readonly #writer: LinesWriter;
  readonly #pieces: RowLines[] = [];
  #bytes = 0;

  /** For rows like these. Null when the target must see each row of this table. */
  static async open(
    transaction: TargetTransaction,
    table: BoundTable,
    { binary = false }: RowLines,
  ): Promise<LinesRun | null> {
    const writer = (await transaction.openLines?.(table, binary)) ?? null;
    return writer === null ? null : new LinesRun(table, binary, writer);
  }

  private constructor(table: BoundTable, binary: boolean, writer: LinesWriter) {
    this.#table = table;
    this.#binary = binary;
    this.#writer = writer;
  }

  /** Not when it is another table's, and not when it is time to see whether all went well. */
  takes(table: BoundTable, { binary = false }: RowLines): boolean {
    return this.#table === table && this.#binary === binary && this.#bytes < RUN_BYTES;
  }

  async take(lines: RowLines): Promise<void> {
    this.#pieces.push(lines);
    this.#bytes += lines.bytes.length;
    await this.#writer.write(lines);
  }

  /** Gives the pieces of which nothing was written, since the target objects to some row: all or none. */
  async end(): Promise<readonly RowLines[]> {
    try {
      await this.#writer.close();
      for (const lines of this.#pieces) lines.release?.();
      return [];
    } catch (error) {
      // A change of a row came before the copy, or the table is copied anew. And of a value that is
      // refused, only the row-by-row way tells the column.
      if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT", "TM-VALUE-REFUSED")) throw error;
      return this.#pieces;
    }
  }
}
