import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import {
  type ApplierSession,
  type BeginOptions,
  type BoundTable,
  type OthersTable,
  type Place,
  type Progress,
  sameTableProgress,
  type TableProgress,
  type TableState,
  type TargetTransaction,
} from "../../core/target.ts";
import { abreast } from "./abreast.ts";
import { openWriter, type Session, TABLE_LOCK_SECONDS } from "./connection.ts";
import { emptyOf } from "./emptiness.ts";
import { quoteTable, quoteText } from "./identifiers.ts";
import { Lease } from "./lease.ts";
import { PROGRESS, PROGRESS_TABLES } from "./ours.ts";
import { loadPin, pinOf, pinQuery } from "./pins.ts";
import { whyNoStaging } from "./staging.ts";
import { TableStatements } from "./statements.ts";
import { loadFacts } from "./table-facts.ts";
import { MysqlTransaction, type TransactionHost } from "./target-transaction.ts";
import { APPLYING } from "./target-triggers.ts";

/** Takes the lease of the sync; null while another applier holds it. */
export async function openApplier(
  options: DatabaseOptions,
  sync: string,
  tables: readonly BoundTable[],
): Promise<ApplierSession | null> {
  const session = await openWriter(options, { flights: true });
  let lease: Lease | null = null;
  try {
    lease = await Lease.take(session, options.logger, ...leaseName(sync));
    if (lease === null) {
      await session.close();
      return null;
    }
    const statements = await prepareStatements(session, tables, options);
    // Told before rows come: of a few at a time none is staged.
    const stages = [...statements.values()].some(({ statements: of }) => of.keyless || !of.soleKey);
    const refusal = stages ? await whyNoStaging(session) : null;
    if (refusal !== null) throw refusal;
    await session.run(`SET ${APPLYING} = 1`);
    // From here on every statement is inside a transaction: beginning one costs no round trip.
    await session.run("SET autocommit = 0");
    return new MysqlApplierSession({ session, lease }, sync, statements);
  } catch (error) {
    lease?.stop();
    // Who tries again at once must find the lease free.
    await session.close();
    throw error;
  }
}

/** Of one question each: another session takes as long to be opened. */
const PINS_EACH = 10;

interface PreparedTable {
  readonly statements: TableStatements;
  /** As it stood before it was looked at; see pins.ts. */
  readonly pin: string;
}

async function prepareStatements(
  session: Session,
  tables: readonly BoundTable[],
  options: DatabaseOptions,
): Promise<ReadonlyMap<string, PreparedTable>> {
  const maxPacket = Number(await session.value("SELECT @@max_allowed_packet"));
  const names = tables.map((table) => session.stored(table.name.name));
  // Before anything else is read of the tables: what is altered in between is seen at the first commit.
  const pins = new Map<string, string>();
  const besides = { ...options, each: PINS_EACH, tableLockSeconds: TABLE_LOCK_SECONDS };
  await abreast(session, besides, names, async (name, use) => {
    pins.set(name, await use((each) => loadPin(each, name)));
  });
  const facts = await loadFacts(session, names);
  return new Map(
    tables.map((table) => {
      const stored = session.stored(table.name.name);
      const fact = table.name.schema === null ? facts.get(stored) : undefined;
      if (fact === undefined) throw missingTable(table);
      const statements = new TableStatements(table, fact, maxPacket);
      return [formatTable(table.name), { statements, pin: pins.get(stored) ?? "" }];
    }),
  );
}

function missingTable(table: BoundTable): TidemarkError {
  const name = formatTable(table.name);
  return new TidemarkError("TM-TABLE-MISSING", `The target has no table ${name}.`, {
    fix: "run again: missing tables are created at the start",
    details: { table: name },
  });
}

async function loadPlace(session: Session, sync: string): Promise<Place> {
  const [row] = await session.rows(
    `SELECT timeline, batch, chunk, hash FROM ${PROGRESS} WHERE sync = ?`,
    [sync],
  );
  return {
    timeline: row?.[0] ?? "",
    position: { batch: Number(row?.[1] ?? 0), chunk: Number(row?.[2] ?? 0) },
    hash: row?.[3] ?? "",
  };
}

export async function loadCopies(
  session: Session,
  sync: string,
): Promise<readonly TableProgress[]> {
  const rows = await session.rows(
    `SELECT table_name, state, cursor_text, copy, has_rows FROM ${PROGRESS_TABLES}
     WHERE sync = ? ORDER BY table_name`,
    [sync],
  );
  return rows.map(([table, state, cursor, copy, hasRows]) => ({
    table: table ?? "",
    state: (state ?? "pending") as TableState,
    cursor: cursor ?? null,
    copy: copy ?? "",
    hasRows: hasRows === "1",
  }));
}

/** As it is set, or compared. */
function placeOf({ timeline, position, hash }: Place): readonly string[] {
  return [
    `timeline = ${quoteText(timeline)}`,
    `batch = ${position.batch}`,
    `chunk = ${position.chunk}`,
    `hash = ${quoteText(hash)}`,
  ];
}

function alteredMeanwhile(table: string): TidemarkError {
  return new TidemarkError(
    "TM-APPLY-RETRY",
    `Table ${table} was altered while it was written: what was not committed is written again, as it now is.`,
    { details: { table } },
  );
}

function leaseName(sync: string): readonly string[] {
  return ["apply", sync];
}

class MysqlApplierSession implements ApplierSession {
  readonly #session: Session;
  readonly #lease: Lease;
  readonly #sync: string;
  readonly #tables: ReadonlyMap<string, PreparedTable>;
  /** Written in the transaction that is open. */
  readonly #touched = new Map<string, PreparedTable>();
  #foreignKeys = true;

  constructor(
    { session, lease }: { readonly session: Session; readonly lease: Lease },
    sync: string,
    tables: ReadonlyMap<string, PreparedTable>,
  ) {
    this.#session = session;
    this.#lease = lease;
    this.#sync = sync;
    this.#tables = tables;
  }

  async load(): Promise<Progress> {
    // The row must be there to be locked by the first transaction.
    await this.#session.run(
      `INSERT IGNORE INTO ${PROGRESS} (sync, timeline, batch, chunk, hash, updated_at)
       VALUES (?, '', 0, 0, '', UTC_TIMESTAMP(6))`,
      [this.#sync],
    );
    const place = await loadPlace(this.#session, this.#sync);
    const tables = await loadCopies(this.#session, this.#sync);
    await this.#session.run("COMMIT");
    return { ...place, tables };
  }

  async loadPlace(): Promise<Place> {
    const place = await loadPlace(this.#session, this.#sync);
    await this.#session.run("COMMIT");
    return place;
  }

  async begin(expected: Progress, options: BeginOptions = {}): Promise<TargetTransaction> {
    const enforcing = options.relaxed !== true && options.postponed !== true;
    await this.#setForeignKeys(enforcing);
    const host: TransactionHost = {
      session: this.#session,
      enforcing,
      statements: (table) => this.#statementsOf(table),
      commit: (next) => this.#commit(expected, next),
      rollback: async () => {
        await this.#session.run("ROLLBACK");
      },
    };
    return new MysqlTransaction(host);
  }

  /** A commit is durable when it resolves. */
  async flush(): Promise<void> {}

  async emptyOf(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    const empty = await emptyOf(this.#session, tables);
    await this.#session.run("COMMIT");
    return empty;
  }

  async others(): Promise<readonly OthersTable[]> {
    const rows = await this.#session.rows(
      `SELECT sync, table_name, state, copy FROM ${PROGRESS_TABLES} WHERE sync <> ?
       ORDER BY sync, table_name`,
      [this.#sync],
    );
    await this.#session.run("COMMIT");
    return rows.map(([sync, table, state, copy]) => ({
      sync: sync ?? "",
      table: table ?? "",
      state: (state ?? "pending") as TableState,
      copy: copy ?? "",
    }));
  }

  isAtWork(sync: string): Promise<boolean> {
    return Lease.isHeld(this.#session, ...leaseName(sync));
  }

  async forget(copies: readonly OthersTable[]): Promise<void> {
    for (const { sync, table, copy } of copies) {
      await this.#session.run(
        `DELETE FROM ${PROGRESS_TABLES} WHERE sync = ? AND table_name = ? AND copy = ?`,
        [sync, table, copy],
      );
    }
    await this.#session.run("COMMIT");
  }

  async countRows({ name }: BoundTable, limit: number): Promise<number> {
    const counted = `(SELECT 1 FROM ${quoteTable(name)} LIMIT ${limit}) AS counted`;
    return Number(await this.#session.value(`SELECT COUNT(*) FROM ${counted}`));
  }

  close(): Promise<void> {
    this.#lease.stop();
    return this.#session.close();
  }

  async #commit(expected: Progress, next: Progress): Promise<void> {
    if (expected.tables !== next.tables) await this.#storeTables(expected, next);
    await this.#moveProgress(expected, next);
    await this.#session.run("COMMIT");
  }

  /**
   * Compared and set at once, as the last of what is written: nothing is locked for it before. How many rows that were is told
   * right behind it, since a flight over many tables is several texts, and the lease's heartbeat may come between. Whoever
   * alters a table that we have written waits for our end. So one that is as it was now was so at every write.
   */
  async #moveProgress(expected: Progress, next: Progress): Promise<void> {
    const touched = [...this.#touched];
    const move = `UPDATE ${PROGRESS} SET ${placeOf(next).join(", ")}, updated_at = UTC_TIMESTAMP(6)
       WHERE ${placeOf(expected).join(" AND ")} AND sync = ${quoteText(this.#sync)}`;
    const pins = touched.map(([name]) => pinQuery(name));
    const [, moved, ...found] = await this.#session.flight([move, "SELECT ROW_COUNT()", ...pins]);
    for (const [at, [name, { pin }]] of touched.entries()) {
      if (pinOf(found[at]?.[0]) !== pin) throw alteredMeanwhile(name);
    }
    this.#touched.clear();
    if (moved?.[0]?.[0] === "1") return;
    await this.#session.run("ROLLBACK");
    throw new TidemarkError(
      "TM-APPLY-FENCED",
      `The progress of ${this.#sync} is not where this applier left it: another one works on it.`,
      { details: { sync: this.#sync } },
    );
  }

  async #storeTables(expected: Progress, next: Progress): Promise<void> {
    const before = new Map(expected.tables.map((table) => [table.table, table]));
    for (const table of next.tables) {
      const known = before.get(table.table);
      before.delete(table.table);
      if (known === undefined || !sameTableProgress(known, table)) await this.#storeTable(table);
    }
    for (const gone of before.keys()) {
      await this.#session.run(`DELETE FROM ${PROGRESS_TABLES} WHERE sync = ? AND table_name = ?`, [
        this.#sync,
        gone,
      ]);
    }
  }

  async #storeTable(table: TableProgress): Promise<void> {
    await this.#session.run(
      `INSERT INTO ${PROGRESS_TABLES} (sync, table_name, state, cursor_text, copy, has_rows)
       VALUES (?, ?, ?, ?, ?, ?)
       ON DUPLICATE KEY UPDATE state = VALUES(state), cursor_text = VALUES(cursor_text), copy = VALUES(copy),
         has_rows = VALUES(has_rows)`,
      [this.#sync, table.table, table.state, table.cursor, table.copy, Number(table.hasRows)],
    );
  }

  /** A setting of the session, changed only when it has to be. */
  async #setForeignKeys(on: boolean): Promise<void> {
    if (on === this.#foreignKeys) return;
    await this.#session.run(`SET foreign_key_checks = ${on ? 1 : 0}`);
    this.#foreignKeys = on;
  }

  #statementsOf(table: BoundTable): TableStatements {
    const prepared = this.#tables.get(formatTable(table.name));
    if (prepared === undefined) throw missingTable(table);
    this.#touched.set(this.#session.stored(table.name.name), prepared);
    return prepared.statements;
  }
}
