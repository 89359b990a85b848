import type { Catalog, LogHolder } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { Objections } from "../../core/many-tables.ts";
import { nearestTable } from "../../core/suggest.ts";
import { formatTable, type TableName, type TableSchema } from "../../core/table.ts";
import type { Connection } from "./connection.ts";
import { isExact, readTable, type TableFacts } from "./facts.ts";
import { quoteName } from "./identifiers.ts";
import { identityOf } from "./identity.ts";
import { isOurs, isOurTable, PREFIX, uninstallStatements } from "./ours.ts";
import { lookAtRecords, planRemoval, removeRecords } from "./records.ts";
import { storedTimeline } from "./stored-timeline.ts";
import { logHolders } from "./subscribers.ts";
import { columnTypeOf } from "./types.ts";

export class SqliteCatalog implements Catalog {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async identity(): Promise<string | null> {
    return identityOf(this.#connection.path);
  }

  listTables(): Promise<readonly TableName[]> {
    return this.#connection.read(() => listTables(this.#connection));
  }

  describe(tables: readonly TableName[]): Promise<readonly TableSchema[]> {
    const objections = new Objections();
    return this.#connection.read(() => {
      const found = tables.map((table) => objections.try(() => describe(this.#connection, table)));
      objections.end();
      return found.filter((schema) => schema !== null);
    });
  }

  async timeline(): Promise<string | null> {
    const stored = await this.#connection.read(() => storedTimeline(this.#connection));
    // That of a copy is its original's: the relay begins one for it.
    return stored === null || stored.cloned ? null : stored.timeline;
  }

  async logHolders(): Promise<readonly LogHolder[] | null> {
    const connection = this.#connection;
    const stored = await connection.read(() => storedTimeline(connection));
    return stored === null || stored.cloned ? null : lookAtRecords(connection, logHolders);
  }

  async planUninstall(): Promise<readonly string[]> {
    const statements = await this.#connection.read(() => uninstallStatements(this.#connection));
    return [...statements, ...planRemoval(this.#connection.path)];
  }

  async uninstall(): Promise<readonly string[]> {
    const connection = this.#connection;
    const done: string[] = [];
    // Where nothing of ours is, nothing is written: the file may be one that may not be.
    const planned = await connection.read(() => uninstallStatements(connection));
    for (let left = planned.length > 0; left; ) {
      // Nobody else can write meanwhile; and triggers come first, so that no write meets a missing log.
      await connection.write(() => {
        const statements = uninstallStatements(connection);
        const some = statements.slice(0, STATEMENTS_AT_A_TIME);
        for (const sql of some) connection.db.exec(sql);
        done.push(...some);
        left = statements.length > some.length;
      });
    }
    done.push(...planRemoval(connection.path));
    removeRecords(connection);
    return done;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}

/** Of thousands of triggers each takes milliseconds to drop. */
const STATEMENTS_AT_A_TIME = 200;

function listTables(connection: Connection): TableName[] {
  return connection
    .rows<{ name: string }>(
      "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )
    .filter(({ name }) => !isOurTable(name))
    .map(({ name }) => ({ schema: null, name }));
}

function describe(connection: Connection, table: TableName): TableSchema {
  const name = formatTable(table);
  const facts =
    table.schema === null || table.schema === "main" ? readTable(connection, table.name) : null;
  if (facts === null) throw missing(connection, name);
  if (isOurs(facts.name)) {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${connection.name}: ${name} has a name that begins with ${PREFIX}: such names are Tidemark's own.`,
      { fix: `ALTER TABLE ${quoteName(facts.name)} RENAME TO …`, details: { table: name } },
    );
  }
  if (facts.kind !== "table") {
    throw new TidemarkError(
      "TM-TABLE-UNSUPPORTED",
      `${connection.name}: ${name} is a ${facts.kind === "view" ? "view" : "virtual table"}: SQLite fires no triggers for its rows.`,
      { fix: "Sync the tables it reads.", details: { table: name } },
    );
  }
  return toSchema(facts);
}

function toSchema(facts: TableFacts): TableSchema {
  const key = new Set(facts.key.map((part) => part.name));
  return {
    name: { schema: null, name: facts.name },
    columns: facts.columns.map((column) => ({
      name: column.name,
      type: columnTypeOf(column.declared, facts.strict),
      nativeType: column.declared,
      // Capture refuses a row whose key holds NULL, whatever the declaration allows.
      nullable: !column.notNull && !key.has(column.name),
      generated: column.generated,
      identity: facts.keyIsRowid && key.has(column.name),
      ...looseCollation(facts, column.name),
    })),
    key: facts.key.map((part) => part.name),
  };
}

/** Of the indexes: only where a column is unique does its collation matter. */
function looseCollation(
  { key, uniques }: TableFacts,
  column: string,
): { readonly looseCollation?: string } {
  const part = [key, ...uniques]
    .flat()
    .find(({ name, collation }) => name === column && !isExact(collation));
  return part === undefined ? {} : { looseCollation: part.collation.toUpperCase() };
}

function missing(connection: Connection, name: string): TidemarkError {
  const near = nearestTable({ schema: null, name }, listTables(connection));
  // Nobody but the connection that has them can tell of what is temporary, or stands in another file.
  const elsewhere =
    "Look whether the name is right, and the path of the file. A table that is temporary, or in a file that was attached (ATTACH), is seen by its own connection alone: make it a table of this file, or name the other file as a database of its own.";
  return new TidemarkError(
    "TM-TABLE-MISSING",
    `${connection.name}: there is no table ${name} in this file.`,
    {
      fix: near === null ? elsewhere : `Did you mean ${near}?`,
      details: { table: name, nearest: near },
    },
  );
}
