// Statements that replace, ignore or update instead of failing: MariaDB's and SQLite's.
import { describe, test } from "vitest";
import { available, ELEVEN_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { startPlayer } from "../support/player.ts";
import { Random, testSeed } from "../support/random.ts";
import { type Dialect, dialectOf, transaction } from "../support/sql-client.ts";
import { TestBed } from "../support/test-bed.ts";
import { asTarget, createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const OWNERS: TestTable = { name: "owners", columns: { id: "integer" }, key: ["id"] };
const SEATS: TestTable = {
  name: "seats",
  columns: { id: "integer", a: "integer", b: "integer", owner: "integer" },
  key: ["id"],
  unique: [["a"], ["b"]],
  references: { owner: "owners" },
  actions: { owner: "ON DELETE CASCADE" },
};
const ALL = [OWNERS, SEATS];

const PAIRS = ELEVEN_PAIRS.filter(({ source }) => dialectOf(source) !== "postgres");

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerReplaceTests(pair));
});

function registerReplaceTests(pair: TestPair): void {
  const mariadb = dialectOf(pair.source) === "mariadb";

  test("rows that are replaced, ignored or updated", async () => {
    await using bed = await bedWithRows(pair);
    const play = await startPlayer(bed, { tables: ALL });
    const upsert = (values: string) =>
      mariadb
        ? `INSERT INTO seats (id, a, b, owner) VALUES ${values} ON DUPLICATE KEY UPDATE b = NULL, owner = NULL`
        : `INSERT INTO seats (id, a, b, owner) VALUES ${values} ON CONFLICT (a) DO UPDATE SET b = NULL, owner = NULL`;
    const ignore = mariadb ? "INSERT IGNORE" : "INSERT OR IGNORE";
    await play("REPLACE INTO seats (id, a, b, owner) VALUES (1, 10, 100, 1)");
    await play("REPLACE INTO seats (id, a, b, owner) VALUES (9, 2, 3, 1)");
    await play("REPLACE INTO seats (id, a, b, owner) VALUES (4, 5, 6, 2), (20, 21, 22, NULL)");
    await play(upsert("(30, 7, 31, 1)"), upsert("(32, 33, 34, 1)"));
    await play(`${ignore} INTO seats (id, a, b) VALUES (40, 7, 41), (8, 42, 43), (44, 45, 46)`);
    if (!mariadb) await play("UPDATE OR REPLACE seats SET a = 45 WHERE id = 8");
    await play("REPLACE INTO owners (id) VALUES (1)");
    await play("UPDATE seats SET owner = 2", "REPLACE INTO owners (id) VALUES (2)");
  });

  // Whether SQLite fires triggers for rows that are replaced is up to each connection.
  test.each(mariadb ? ["as usual"] : ["OFF", "ON"])("random statements: %s", async (recursive) => {
    const random = new Random(testSeed());
    await using bed = await bedWithRows(pair);
    const source = await bed.sql("source");
    if (!mariadb) await source.run(`PRAGMA recursive_triggers = ${recursive}`);
    const play = await startPlayer(bed, { tables: ALL });
    for (let round = 0; round < 10; round++) {
      const statements = Array.from({ length: random.between(1, 12) }, () =>
        randomStatement(random, mariadb ? "mariadb" : "sqlite"),
      );
      await play(...statements);
    }
  });
}

function randomStatement(random: Random, dialect: Dialect): string {
  const value = () => random.between(1, 9);
  const or = dialect === "mariadb" ? "" : "OR ";
  const verb = random.pick([
    "REPLACE",
    "REPLACE",
    `INSERT ${or}IGNORE`,
    "UPDATE",
    "DELETE",
    "OWNER",
  ]);
  if (verb === "OWNER") return `REPLACE INTO owners (id) VALUES (${random.between(1, 3)})`;
  if (verb === "DELETE") return `DELETE FROM seats WHERE a = ${value()}`;
  if (verb === "UPDATE") {
    const how = dialect === "mariadb" ? "IGNORE" : random.pick(["OR REPLACE", "OR IGNORE"]);
    return `UPDATE ${how} seats SET ${random.pick(["a", "b"])} = ${value()} WHERE id = ${value()}`;
  }
  return `${verb} INTO seats (id, a, b, owner) VALUES (${value()}, ${value()}, ${value()}, ${random.between(1, 3)})`;
}

async function bedWithRows(pair: TestPair): Promise<TestBed> {
  const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, ALL);
  await createTables(
    await bed.sql("target"),
    pair.target,
    ALL.map((table) => asTarget(table, pair.source, pair.target)),
  );
  await transaction(source, async () => {
    for (const id of [1, 2, 3]) await insertRow(source, OWNERS, { id });
    for (let id = 1; id <= 8; id++) await insertRow(source, SEATS, { id, a: id, b: id, owner: 3 });
  });
  return bed;
}
