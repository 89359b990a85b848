import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { formatTable } from "../../core/table.ts";
import type {
  ApplierSession,
  BeginOptions,
  BoundTable,
  OthersTable,
  Place,
  Progress,
  TargetTransaction,
} from "../../core/target.ts";
import type { WritableTable } from "./apply-sql.ts";
import { binaryType } from "./binary-types.ts";
import { findTables, tableKey } from "./catalog.ts";
import { Connection } from "./connection.ts";
import { emptyOf } from "./emptiness.ts";
import { sqlState } from "./errors.ts";
import { quoteTable, schemaOf } from "./identifiers.ts";
import { KEPT_IN, markOf } from "./marks.ts";
import { assertOwned } from "./ours.ts";
import { altered, loadPins } from "./pins.ts";
import {
  ensureProgress,
  forgetCopies,
  loadOthers,
  loadPlace,
  loadProgress,
  progressValues,
} from "./progress.ts";
import { formatArrayText } from "./row-text.ts";
import { Sequences } from "./sequences.ts";
import { TargetPartitions } from "./target-partitions.ts";
import { factsOf, loadStanding } from "./target-tables.ts";
import { PostgresTransaction } from "./target-transaction.ts";

const INSUFFICIENT_PRIVILEGE = "42501";

/**
 * A synchronous commit makes all earlier ones durable. It must have written something, else the
 * server waits for nothing: a message in the log that nobody reads.
 */
const FLUSH = [
  "BEGIN",
  "SET LOCAL synchronous_commit TO on",
  "SELECT pg_catalog.pg_logical_emit_message(true, 'tidemark', '')",
  "COMMIT",
];

const REPLACED = `SELECT FROM unnest($1::oid[], $2::text[], $3::text[]) AS w(oid, schema, name)
  JOIN pg_namespace n ON n.nspname = w.schema
  JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
  WHERE c.oid <> w.oid LIMIT 1`;

/** Null while another applier of the sync holds the lease. */
export async function openApplierSession(
  options: DatabaseOptions,
  sync: string,
  tables: readonly BoundTable[],
): Promise<ApplierSession | null> {
  const connection = await Connection.open(options, "applier");
  try {
    const [lease] = await connection.rows(
      "SELECT pg_try_advisory_lock(hashtextextended('tidemark sync ' || $1, 0))",
      [sync],
    );
    if (lease?.[0] !== "t") {
      await connection.close();
      return null;
    }
    await assertOwned(connection, "target");
    await ensureProgress(connection, sync);
    const [kept] = await connection.rows(KEPT_IN);
    const writable = await bindTables(connection, tables);
    const partitions = await TargetPartitions.load(
      connection,
      [...writable.values()].map(({ oid }) => oid),
      options.logger,
    );
    const sequences = await Sequences.load(connection, tables, options.logger);
    const mayRelax = await maySetReplicationRole(connection);
    await connection.together(() =>
      Promise.all([
        // The target's own triggers may count on what the role is used to. Others may create there: so from here on our
        // statements name what they call with its schema, where the server has nothing of just these types.
        connection.script("SET search_path TO DEFAULT"),
        // Readers see a commit at once and not only when the disk has it: see flush().
        connection.script("SET synchronous_commit TO off"),
        // Else every batch has its statements planned anew, which costs more than running them.
        connection.script("SET plan_cache_mode TO force_generic_plan"),
      ]),
    );
    return new PostgresApplierSession({
      connection,
      sync,
      tables: writable,
      partitions,
      sequences,
      mayRelax,
      keptIn: kept?.[0] as string,
    });
  } catch (error) {
    await connection.close();
    throw error;
  }
}

export interface SessionParts {
  readonly connection: Connection;
  readonly sync: string;
  readonly tables: ReadonlyMap<string, WritableTable>;
  readonly partitions: TargetPartitions;
  readonly sequences: Sequences;
  /** May this role turn foreign keys off? */
  readonly mayRelax: boolean;
  /** Oid of the table that progress of tables stands in. */
  readonly keptIn: string;
}

class PostgresApplierSession implements ApplierSession {
  readonly #parts: SessionParts;
  /** Progress as this session last read or wrote it. */
  #known: Progress | null = null;
  #nextLookAt = 0;

  constructor(parts: SessionParts) {
    this.#parts = parts;
  }

  markOf({ name }: BoundTable): string {
    return markOf(this.#parts.keptIn, this.#parts.tables.get(tableKey(name))?.oid);
  }

  async assertNoneReplaced(): Promise<void> {
    const startedAt = performance.now();
    if (startedAt < this.#nextLookAt) return;
    const { connection } = this.#parts;
    const tables = [...this.#parts.tables.values()];
    const names = tables.map(({ bound }) => bound.name);
    const [replaced] = await connection.rows(
      REPLACED,
      [tables.map(({ oid }) => oid), names.map(schemaOf), names.map(({ name }) => name)].map(
        formatArrayText,
      ),
      "replaced",
    );
    if (replaced !== undefined) throw altered(connection.database, undefined);
    await this.#parts.partitions.tellGone(
      (root) => (tables.find(({ oid }) => oid === root) as WritableTable).bound.name,
    );
    // Thousands of tables: never more than a hundredth of the time.
    this.#nextLookAt = startedAt + (performance.now() - startedAt) * 100;
  }

  async load(): Promise<Progress> {
    this.#known = await loadProgress(this.#parts.connection, this.#parts.sync);
    return this.#known;
  }

  loadPlace(): Promise<Place> {
    return loadPlace(this.#parts.connection, this.#parts.sync);
  }

  async begin(expected: Progress, options: BeginOptions = {}): Promise<TargetTransaction> {
    const { relaxed = false, postponed = false } = options;
    const mayRelax =
      (relaxed && (await this.#mayRelaxNow())) ||
      (postponed && (await this.#mayRelaxNow()) && !(await this.#hasTriggers()));
    const enforcing = !mayRelax;
    const modes = { enforcing, deferring: postponed };
    const transaction = new PostgresTransaction(this.#parts, modes, expected, (next) => {
      this.#known = next;
    });
    // What this session itself wrote or read last is very likely still so: then it is looked at by the
    // first statement, or by the last. Nothing can be committed before.
    if (!this.#known || !samePosition(this.#known, expected)) {
      transaction.begin();
      await transaction.settle();
    }
    return transaction;
  }

  async flush(): Promise<void> {
    const { connection } = this.#parts;
    const release = connection.hold();
    const answers = FLUSH.map((text, i) => connection.run(text, [], `flush_${i}`));
    release();
    await Promise.all(answers);
  }

  takesBinary(table: BoundTable, types: readonly string[]): boolean {
    const standing = this.#parts.tables.get(tableKey(table.name))?.exact ?? [];
    return types.every((type, i) => {
      const name = binaryType(type);
      return name !== null && name === binaryType(standing[i] ?? "");
    });
  }

  emptyOf(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    return emptyOf(this.#parts.connection, tables);
  }

  others(): Promise<readonly OthersTable[]> {
    return loadOthers(this.#parts.connection, this.#parts.sync);
  }

  async isAtWork(sync: string): Promise<boolean> {
    // Given up again with the statement.
    const [row] = await this.#parts.connection.rows(
      "SELECT pg_try_advisory_xact_lock(hashtextextended('tidemark sync ' || $1, 0))",
      [sync],
    );
    return row?.[0] !== "t";
  }

  forget(copies: readonly OthersTable[]): Promise<void> {
    return forgetCopies(this.#parts.connection, copies);
  }

  async countRows({ name }: BoundTable, limit: number): Promise<number> {
    const [row] = await this.#parts.connection.rows(
      `SELECT count(*) FROM (SELECT FROM ${quoteTable(name)} LIMIT ${limit}) AS counted`,
    );
    return Number(row?.[0]);
  }

  close(): Promise<void> {
    return this.#parts.connection.close();
  }

  /**
   * With replication role set, triggers do not run. Where this database is a source, too, ours must:
   * what is copied in goes on from here.
   */
  async #mayRelaxNow(): Promise<boolean> {
    if (!this.#parts.mayRelax) return false;
    const [row] = await this.#parts.connection.rows(
      `SELECT NOT EXISTS (SELECT FROM pg_trigger t JOIN pg_proc p ON p.oid = t.tgfoid
       WHERE p.pronamespace = to_regnamespace('tidemark')::oid)`,
    );
    return row?.[0] === "t";
  }

  /** Changes that come after the copy fire the target's own triggers: none of them may go by unseen. */
  async #hasTriggers(): Promise<boolean> {
    const names = [...this.#parts.tables.values()].map(({ bound }) => bound.name);
    const [row] = await this.#parts.connection.rows(
      `SELECT EXISTS (SELECT FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
         JOIN pg_namespace n ON n.oid = c.relnamespace
         JOIN unnest($1::text[], $2::text[]) AS w(schema, name) ON w.schema = n.nspname AND w.name = c.relname
         WHERE NOT t.tgisinternal AND t.tgenabled = 'O')`,
      [formatArrayText(names.map(schemaOf)), formatArrayText(names.map(({ name }) => name))],
    );
    return row?.[0] === "t";
  }
}

function samePosition(a: Progress, b: Progress): boolean {
  return JSON.stringify(progressValues(a)) === JSON.stringify(progressValues(b));
}

async function maySetReplicationRole(connection: Connection): Promise<boolean> {
  try {
    await connection.script("SET session_replication_role TO replica");
  } catch (error) {
    if (sqlState(error) === INSUFFICIENT_PRIVILEGE) return false;
    throw error;
  }
  await connection.script("RESET session_replication_role");
  return true;
}

async function bindTables(
  connection: Connection,
  tables: readonly BoundTable[],
): Promise<ReadonlyMap<string, WritableTable>> {
  const names = tables.map((table) => table.name);
  const found = await findTables(connection, names);
  // Before anything else is read of the tables: what is altered in between is seen at the first commit.
  const pins = await loadPins(
    connection,
    [...found.values()].map(({ oid }) => oid),
  );
  const standing = await loadStanding(connection, names);
  return new Map(
    tables.map((bound, i) => {
      const stands = standing.get(tableKey(bound.name));
      if (!stands) {
        throw new TidemarkError(
          "TM-TABLE-MISSING",
          `There is no table ${formatTable(bound.name)} at the target.`,
        );
      }
      const facts = factsOf(bound, stands);
      if ("missing" in facts) {
        throw new TidemarkError(
          "TM-COLUMN-MISSING",
          `There is no column ${facts.missing} at the target.`,
        );
      }
      const selfReferring = stands.parents.includes(stands.oid);
      const { oid } = stands;
      const common = { bound, name: String(i), oid, pin: pins.get(oid) ?? "" };
      return [tableKey(bound.name), { ...common, selfReferring, ...facts }];
    }),
  );
}
