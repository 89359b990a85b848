// Databases as people have them: each with its schema in every kind of database by that kind's own
// means (the .sql files; statements stand apart by an empty line), first rows, and changes as its
// application makes them.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Random } from "../support/random.ts";
import type { Dialect, SqlClient } from "../support/sql-client.ts";

export interface Sample {
  /** Its folder. */
  readonly name: string;
  readonly fill: (dialect: Dialect) => readonly string[];
  /** The statements of one transaction; a rule of the database may forbid it. */
  readonly change: (random: Random, dialect: Dialect) => readonly string[];
}

export async function createSample(sql: SqlClient, sample: Sample): Promise<void> {
  for (const statement of statementsOf(sample, sql)) await sql.run(statement);
}

/** The statements that make their types. */
export function typesOf(samples: readonly Sample[], sql: SqlClient): readonly string[] {
  return samples
    .flatMap((sample) => statementsOf(sample, sql))
    .filter((each) => /^CREATE (?:TYPE|DOMAIN|EXTENSION)/.test(each));
}

function statementsOf({ name }: Sample, { dialect }: SqlClient): readonly string[] {
  const file = join(import.meta.dirname, name, `${dialect}.sql`);
  return readFileSync(file, "utf8").trim().split(/\n\n+/);
}

/** 1 up to `count`. */
export function upTo(count: number): readonly number[] {
  return Array.from({ length: count }, (_, i) => i + 1);
}

/** Two rows exchange their unique texts, which are made of their numbers. */
export function exchange(
  { table, column }: { readonly table: string; readonly column: string },
  text: (id: number) => string,
  [a, b]: readonly [number, number],
): readonly string[] {
  const set = (id: number, value: string) =>
    `UPDATE ${table} SET ${column} = '${value}' WHERE id = ${id}`;
  return [set(a, "held"), set(b, text(a)), set(a, text(b))];
}
