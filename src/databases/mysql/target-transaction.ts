import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import type { BoundTable, Progress, TargetTransaction } from "../../core/target.ts";
import { type Row, UNCHANGED } from "../../core/value.ts";
import { MAKE_BLANK } from "./blank.ts";
import type { Session } from "./connection.ts";
import { errorNumber } from "./errors.ts";
import { quoteName } from "./identifiers.ts";
import { PREFIX } from "./ours.ts";
import { verifyReferences } from "./references.ts";
import type { TableStatements } from "./statements.ts";

/** What the transaction takes from its session. */
export interface TransactionHost {
  readonly session: Session;
  readonly enforcing: boolean;
  statements(table: BoundTable): TableStatements;
  /** Stores progress, which must still be as expected, and commits; else throws TM-APPLY-FENCED. */
  commit(next: Progress): Promise<void>;
  rollback(): Promise<void>;
}

/** Below it, one statement for each row costs less than a staging table. */
const FEW_ROWS = 8;
const STAGED = quoteName(`${PREFIX}staged`);
const GONE = quoteName(`${PREFIX}gone`);
const NARROW = quoteName(`${PREFIX}narrow`);
const SAVEPOINT = `${PREFIX}attempt`;

export class MysqlTransaction implements TargetTransaction {
  readonly enforcing: boolean;
  readonly #host: TransactionHost;
  readonly #session: Session;
  /** Has anything been written? Until then there is nothing a savepoint would keep. */
  #written = false;

  constructor(host: TransactionHost) {
    this.#host = host;
    this.enforcing = host.enforcing;
    this.#session = host.session;
  }

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    const first = !this.#written;
    if (!first) await this.#session.run(`SAVEPOINT ${SAVEPOINT}`);
    try {
      return await work();
    } catch (error) {
      if (!isTidemarkError(error, "TM-APPLY-CONSTRAINT")) throw error;
      if (first) {
        // Saves the savepoint's round trip in every transaction that goes well.
        await this.#host.rollback();
        this.#written = false;
      } else {
        await this.#session.run(`ROLLBACK TO SAVEPOINT ${SAVEPOINT}`);
      }
      throw error;
    }
  }

  async remove(table: BoundTable, keys: readonly Row[]): Promise<void> {
    const statements = this.#host.statements(table);
    if (statements.keyless) return this.#removeWhole(statements, keys);
    for (const statement of statements.deletes(keys)) {
      await this.#run(statement, table);
    }
  }

  async put(
    table: BoundTable,
    rows: readonly Row[],
    options: { readonly fresh?: boolean } = {},
  ): Promise<void> {
    const statements = this.#host.statements(table);
    if (statements.needBlank(rows)) await this.#makeBlank(table);
    const partial = rows.filter((row) => row.includes(UNCHANGED));
    for (const row of partial) await this.#updateOnly(statements, row);
    const whole = partial.length === 0 ? rows : rows.filter((row) => !row.includes(UNCHANGED));
    if (whole.length === 0) return;
    if (statements.keyless) {
      for (const statement of statements.inserts(whole, false)) await this.#run(statement, table);
    } else if (statements.soleKey) {
      for (const statement of statements.inserts(whole, true)) await this.#run(statement, table);
    } else if (!(options.fresh === true && (await this.#insertAll(statements, whole)))) {
      await this.#putBesideUniques(statements, whole);
    }
  }

  async clear(table: BoundTable): Promise<void> {
    // TRUNCATE would commit.
    await this.#run(`DELETE FROM ${this.#host.statements(table).name}`, table);
  }

  verify(tables: readonly BoundTable[]): Promise<void> {
    return verifyReferences(
      this.#session,
      tables.map(({ name }) => this.#session.stored(name.name)),
    );
  }

  commit(next: Progress): Promise<void> {
    return this.#host.commit(next);
  }

  rollback(): Promise<void> {
    return this.#host.rollback();
  }

  /** False when a row stood already; then nothing of the failed statement is left, but earlier ones are. */
  async #insertAll(statements: TableStatements, rows: readonly Row[]): Promise<boolean> {
    try {
      for (const statement of statements.inserts(rows, false)) {
        await this.#run(statement, statements.table);
      }
      return true;
    } catch (error) {
      if (errorNumber(error) === DUPLICATE) return false;
      throw error;
    }
  }

  /**
   * ON DUPLICATE KEY UPDATE would overwrite *another* row that holds the same value in another
   * unique key. So: update what stands, insert what does not; a collision is an error then.
   */
  async #putBesideUniques(statements: TableStatements, rows: readonly Row[]): Promise<void> {
    const { table } = statements;
    if (rows.length <= FEW_ROWS) {
      for (const row of rows) {
        if ((await this.#run(statements.update(row), table)) === 0) {
          await this.#run(statements.insert(row), table);
        }
      }
      return;
    }
    await this.#stage(statements, rows);
    await this.#run(statements.updateFrom(STAGED), table);
    await this.#run(statements.insertFrom(STAGED), table);
    await this.#run(`DROP TEMPORARY TABLE ${STAGED}`, table);
  }

  /**
   * Of rows that are equal, as many as are given. Staged first, so that they are compared as what the
   * columns made of them. The table is read twice, however many rows go.
   */
  async #removeWhole(statements: TableStatements, rows: readonly Row[]): Promise<void> {
    const { table } = statements;
    if (rows.length === 0) return;
    await this.#stage(statements, rows);
    await this.#create(`${GONE} (hash BINARY(32) PRIMARY KEY, times INT) ENGINE = InnoDB`, table);
    await this.#run(statements.countStaged(STAGED, GONE), table);
    const pickNarrow = statements.pickNarrow(STAGED, NARROW);
    if (pickNarrow !== null) {
      await this.#create(`${NARROW} (hash BINARY(32) PRIMARY KEY) ENGINE = InnoDB`, table);
      await this.#run(pickNarrow, table);
    }
    const surplus = await this.#session.rows(statements.countSurplus(GONE, NARROW));
    for (const [hash] of surplus) {
      await this.#run(`DELETE FROM ${GONE} WHERE hash = X'${hash}'`, table);
    }
    await this.#run(statements.deleteGone(GONE, NARROW), table);
    for (const [hash, times, narrow] of surplus) {
      await this.#run(statements.deleteSome(hash ?? "", Number(times), narrow ?? null), table);
    }
    await this.#run(`DROP TEMPORARY TABLE IF EXISTS ${STAGED}, ${GONE}, ${NARROW}`, table);
  }

  /** In a temporary table of the same shape: types and collations compare as in the table itself. */
  async #stage(statements: TableStatements, rows: readonly Row[]): Promise<void> {
    const { table } = statements;
    if (statements.needBlank(rows)) await this.#makeBlank(table);
    await this.#create(`${STAGED} LIKE ${statements.name}`, table);
    for (const statement of statements.inserts(rows, false, STAGED)) {
      await this.#run(statement, table);
    }
  }

  /** Creating and dropping a temporary table does not commit. Of what engine is said, or is that of the table it is like. */
  async #create(definition: string, table: BoundTable): Promise<void> {
    const [name = ""] = definition.split(" ", 1);
    await this.#run(`DROP TEMPORARY TABLE IF EXISTS ${name}`, table);
    await this.#run(`CREATE TEMPORARY TABLE ${definition}`, table, "CREATE TEMPORARY TABLES");
  }

  /** A rollback may have taken its row. */
  async #makeBlank(table: BoundTable): Promise<void> {
    for (const statement of MAKE_BLANK) {
      await this.#run(statement, table, "CREATE TEMPORARY TABLES");
    }
  }

  async #updateOnly(statements: TableStatements, row: Row): Promise<void> {
    const { table } = statements;
    if ((await this.#run(statements.update(row), table)) > 0) return;
    throw new TidemarkError(
      "TM-APPLY-CONSTRAINT",
      `A row of ${table.name.name} with an unchanged column is missing at the target.`,
      {
        fix: "tidemark resync TABLE, then tidemark run: it is copied anew",
        details: { table: table.name.name },
      },
    );
  }

  #run(statement: string, table: BoundTable, right?: string): Promise<number> {
    this.#written = true;
    const needed = right === undefined ? {} : { right };
    return this.#session.run(statement, [], { table: table.name.name, ...needed });
  }
}

const DUPLICATE = 1062;
