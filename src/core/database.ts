import type { Logger } from "./log.ts";
import type { Source } from "./source.ts";
import type { TableName, TableSchema } from "./table.ts";
import type { Target } from "./target.ts";

/** What an adapter is told about a database. The URL holds secrets: it is never logged or put in an error. */
export interface DatabaseOptions {
  /** The database's name in the config. */
  readonly name: string;
  readonly url: string;
  readonly logger: Logger;
  /** Ends every connection at once, also one that waits for an answer; none is made after it. */
  readonly signal?: AbortSignal | undefined;
  /** What `identity()` tells of the only database to work with: who reaches another one is told TM-CONNECTION-LOST. */
  readonly only?: string | undefined;
}

/**
 * A kind of database. One folder in src/databases/, one line in src/pipeline/registry.ts.
 * Opening anything throws TM-CONNECT-FAILED, TM-AUTH-FAILED, TM-DRIVER-MISSING or
 * TM-SERVER-UNSUPPORTED (version too old, table engine without transactions …).
 */
export interface DatabaseAdapter {
  /** `postgres`, `mysql`, `sqlite`: also the `database` of its native column types. */
  readonly kind: string;
  /** URL schemes without the colon: `["postgres", "postgresql"]`. */
  readonly schemes: readonly string[];
  /** Where a table without a schema goes (`public`); null where tables have no schemas inside the connected database. */
  readonly defaultSchema: string | null;
  /** Is there an address, which may be led to another server while sessions with the one before last? */
  readonly hasAddress: boolean;
  openCatalog(options: DatabaseOptions): Promise<Catalog>;
  openSource(options: DatabaseOptions): Promise<Source>;
  openTarget(options: DatabaseOptions): Promise<Target>;
}

/** What can tell which database it belongs to. */
export interface Identified {
  /**
   * The same text for whoever opens the same database, by whatever URL (another user, another name of the host, a link
   * to the file) and with whatever rights; another one for every other database of this kind, a copy of this one
   * included. Need not outlast a restart. Null where it cannot be had: never a reason to fail. Throws
   * TM-CONNECTION-LOST.
   */
  identity(): Promise<string | null>;
}

/** What stands in a database, ours apart. */
export interface Catalog extends Identified {
  /** Ordinary user tables (partitioned parents, not their partitions); nothing of ours, no system tables. */
  listTables(): Promise<readonly TableName[]>;
  /**
   * Throws TM-TABLE-MISSING (with the nearest name), TM-TABLE-UNSUPPORTED (view, foreign table,
   * engine without transactions), TM-TYPE-UNSUPPORTED (a key's type). Of other columns `unsupported` says so.
   */
  describe(tables: readonly TableName[]): Promise<readonly TableSchema[]>;
  /** Of its change log, see ChangeLog.timeline; null: there is none. */
  timeline(): Promise<string | null>;
  /** For which syncs the change log of this database is kept, as far as it stands there; null: there is none. */
  logHolders(): Promise<readonly LogHolder[] | null>;
  /** The statements that remove every trigger, function, table and schema of ours; empty when there is nothing. */
  planUninstall(): Promise<readonly string[]>;
  /** Runs them, and gives them. Whatever of them fails, what stands can go on, and this can be called again. */
  uninstall(): Promise<readonly string[]>;
  close(): Promise<void>;
}

export interface LogHolder {
  readonly sync: string;
  /** The last batch that it has confirmed: what is newer is kept. */
  readonly confirmed: number;
  /** The statements that let go. */
  readonly release: string;
}

/** One thing `doctor` found. */
export interface Finding {
  /** Stable, kebab-case: `trigger-disabled`. */
  readonly check: string;
  readonly severity: "ok" | "warning" | "error";
  /** Names the thing and says why it matters. */
  readonly message: string;
  /** The exact statement or setting that mends it. */
  readonly fix?: string;
}
