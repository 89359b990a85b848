import pg from "pg";
import type { Change } from "../../src/core/change.ts";
import type { DatabaseOptions } from "../../src/core/database.ts";
import { silentLogger } from "../../src/core/log.ts";
import { changesOf as decoded } from "../../src/core/row-lines.ts";
import type { CaptureTable, Cut } from "../../src/core/source.ts";
import type { TableName } from "../../src/core/table.ts";
import { postgres } from "../../src/databases/postgres/index.ts";

export const SERVERS = ["postgres", "postgres-newest", "postgres-oldest"] as const;

/** How a table `t` is captured, and what must stand beside it for that (src/databases/postgres/shape.ts). */
export const SHAPES = [
  ["statement triggers", ""],
  ["a row trigger", "CREATE TABLE part () INHERITS (t)"],
  [
    "a row trigger that reads the row as it stands",
    `CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
         CREATE TRIGGER own AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION own()`,
  ],
] as const;

export function optionsOf(url: string): DatabaseOptions {
  return { name: "shop", url, logger: silentLogger };
}

/** An ordinary session, as an application has it. */
export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  return client;
}

/** The tables as `tidemark` would ask for them: all columns, no filter. */
export async function captureTables(
  url: string,
  names: readonly (string | TableName)[],
  more: Partial<CaptureTable> = {},
): Promise<CaptureTable[]> {
  const catalog = await postgres.openCatalog(optionsOf(url));
  try {
    const schemas = await catalog.describe(
      names.map((name) => (typeof name === "string" ? { schema: "public", name } : name)),
    );
    return schemas.map((schema) => ({
      schema,
      columns: schema.columns.map((column) => column.name),
      filters: [],
      takesNewColumns: more.columns === undefined,
      ...more,
    }));
  } finally {
    await catalog.close();
  }
}

export async function changesOf(cut: Pick<Cut, "pages">): Promise<Change[]> {
  const changes: Change[] = [];
  for await (const page of cut.pages) changes.push(...decoded(page));
  return changes;
}

/** `insert 1,a` … : a change as one line. */
export function line(change: Change): string {
  const values = change.row ?? change.keyBefore ?? [];
  return [change.op, values.map((value) => (value === null ? "null" : String(value))).join(",")]
    .join(" ")
    .trim();
}
