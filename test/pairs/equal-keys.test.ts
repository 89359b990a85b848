// Keys that are equal and print differently (1.0 and 1.00): one key to PostgreSQL, two to a target that keeps their
// texts. A row has the key's last print, and what stood under an earlier one is gone (G1, G6).
import { describe, expect, test } from "vitest";
import { available, type TestPair, title } from "../support/pairs.ts";
import { type Play, player, startPlayer } from "../support/player.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import { contents, type TestTable } from "../support/test-tables.ts";

interface KeyType {
  readonly type: string;
  /** Equal, and printed in two ways. */
  readonly keys: readonly [string, string];
  readonly other: string;
  /** Do all targets give the texts back as they were? */
  readonly exact?: boolean;
}

const TYPES: Readonly<Record<string, KeyType>> = {
  numerics: { type: "numeric", keys: ["'1.00'", "'1.0'"], other: "'7'", exact: true },
  floats: { type: "float8", keys: ["'0'", "'-0'"], other: "'7'" },
  intervals: { type: "interval", keys: ["'1 month'", "'30 days'"], other: "'7 days'" },
  documents: { type: "jsonb", keys: ["'1.00'", "'1.0'"], other: "'7'" },
  lists: { type: "numeric[]", keys: ["'{1.00}'", "'{1.0}'"], other: "'{7}'" },
  blanks: { type: "bpchar", keys: ["'a  '", "'a'"], other: "'b'" },
  names: { type: "text COLLATE anyhow", keys: ["'a'", "'A'"], other: "'b'" },
};

/** Each makes the trigger another one. */
const SHAPES: Readonly<Record<string, (table: string) => readonly string[]>> = {
  "statement triggers": () => [],
  "row triggers": (table) => [`CREATE TABLE ${table}_part () INHERITS (${table})`],
  "row triggers that read the row as it stands": (table) => [
    "CREATE OR REPLACE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    `CREATE TRIGGER keep AFTER INSERT ON ${table} FOR EACH ROW EXECUTE FUNCTION keep()`,
  ],
};

const PAIRS: readonly TestPair[] = (["postgres", "mariadb", "sqlite"] as const).map(
  (target) => ({ source: "postgres", target, queue: "embedded" }) as const,
);
const ANYHOW =
  "CREATE COLLATION anyhow (provider = icu, locale = 'und-u-ks-level2', deterministic = false)";

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair)).each(Object.entries(SHAPES))("by %s", async (_, shape) => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await source.run(ANYHOW);
    if (pair.target === "postgres") await (await bed.sql("target")).run(ANYHOW);
    for (const [name, { type }] of Object.entries(TYPES)) {
      await source.run(`CREATE TABLE ${name} (id ${type} PRIMARY KEY, note text)`);
      for (const statement of shape(name)) await source.run(statement);
    }
    const tables = Object.keys(TYPES);
    const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables }]));
    for (const [name, kept] of Object.entries(TYPES)) {
      const table: TestTable = {
        name,
        columns: kept.exact ? { id: "text", note: "text" } : { note: "text" },
        key: kept.exact ? ["id"] : ["note"],
      };
      await playGames(await player(bed, pipeline, { tables: [table] }), name, kept);
      expect(await contents(await bed.sql("target"), table)).toHaveLength(1);
    }
  });

  test.skipIf(!available(pair))(
    "a parent under another print of its key keeps its children",
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await source.run("CREATE TABLE parents (id numeric PRIMARY KEY, note text)");
      await source.run(
        "CREATE TABLE children (id int PRIMARY KEY, parent numeric REFERENCES parents ON UPDATE CASCADE ON DELETE CASCADE)",
      );
      await source.run("INSERT INTO parents VALUES ('1.00', 'old'), ('2.0', 'other')");
      await source.run("INSERT INTO children VALUES (1, '1.00'), (2, '2.0')");
      await asAtSource(bed, pair);
      const tables: readonly TestTable[] = [
        { name: "parents", columns: { id: "text", note: "text" }, key: ["id"] },
        { name: "children", columns: { id: "integer", parent: "text" }, key: ["id"] },
      ];
      const play = await startPlayer(bed, { tables });
      await play("UPDATE parents SET id = '1.0', note = 'new' WHERE id = 1");
      await play(
        "UPDATE parents SET id = '2.000' WHERE id = 2",
        "DELETE FROM parents WHERE id = 1",
      );
      expect(await contents(await bed.sql("target"), tables[1] as TestTable)).toHaveLength(1);
    },
  );
});

async function playGames(play: Play, t: string, { type, keys, other }: KeyType): Promise<void> {
  const [one, two] = keys;
  const anew = [`DELETE FROM ${t}`, `INSERT INTO ${t} VALUES (${one}, 'old')`];
  const games: readonly (readonly string[])[] = [
    [`UPDATE ${t} SET id = ${two}, note = 'new'`],
    [`UPDATE ${t} SET id = ${two}`, `UPDATE ${t} SET id = ${one}, note = 'back'`],
    [`DELETE FROM ${t}`, `INSERT INTO ${t} VALUES (${two}, 'new')`],
    [
      `INSERT INTO ${t} VALUES (${two}, 'new') ON CONFLICT (id) DO UPDATE SET id = excluded.id, note = 'put'`,
    ],
    [
      `INSERT INTO ${t} VALUES (${other}, 'other')`,
      `DELETE FROM ${t} WHERE note = 'old'`,
      `UPDATE ${t} SET id = ${two}`,
    ],
    [
      `WITH gone AS (DELETE FROM ${t} RETURNING id) INSERT INTO ${t} SELECT ${two}::${type}, 'new' FROM gone`,
    ],
    [
      `INSERT INTO ${t} VALUES (${other}, 'other')`,
      `WITH moved AS (UPDATE ${t} SET id = ${two} WHERE note = 'other') DELETE FROM ${t} WHERE note = 'old'`,
    ],
  ];
  for (const game of games) {
    await play(...anew);
    await play(...game);
  }
}

/** The same foreign key stands at the target, where that compares keys as the source does. */
async function asAtSource(bed: TestBed, pair: TestPair): Promise<void> {
  if (pair.target !== "postgres") return;
  const target: SqlClient = await bed.sql("target");
  await target.run("CREATE TABLE parents (id numeric PRIMARY KEY, note text)");
  await target.run(
    "CREATE TABLE children (id int PRIMARY KEY, parent numeric REFERENCES parents ON UPDATE CASCADE ON DELETE CASCADE)",
  );
}
