// Key games: keys and unique values that change hands. A target applies the net effect of whole
// transactions, so what was legal step by step at the source must end legal there, too (G3).
import { describe, expect, test } from "vitest";
import { available, ELEVEN_PAIRS, type TestPair, title } from "../support/pairs.ts";
import { startPlayer } from "../support/player.ts";
import { Random, testSeed } from "../support/random.ts";
import {
  type Dialect,
  dialectOf,
  isConstraint,
  type SqlClient,
  transaction,
} from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import {
  asTarget,
  contents,
  createTables,
  exact,
  insertRow,
  type TestTable,
} from "../support/test-tables.ts";

const LOCKERS: TestTable = {
  name: "lockers",
  columns: { id: "integer", slot: "varchar", note: "varchar" },
  key: ["id"],
  unique: [["slot"]],
};
/** At a PostgreSQL source all its unique keys are deferrable. */
const SHELVES: TestTable = { ...LOCKERS, name: "shelves" };

const UNIQUE_ONLY: TestTable = {
  name: "parts",
  columns: { box: "varchar", part: "integer", note: "varchar" },
  key: [],
  required: ["box", "part"],
  unique: [["box", "part"]],
};

const ITEMS: TestTable = {
  name: "items",
  columns: { id: "integer", place: "integer" },
  key: ["id"],
  unique: [["place"]],
};

/** What makes slots unique at the target in place of a plain index, by table. Each forbids what that would. */
const OTHER_INDEXES: Readonly<Record<string, Readonly<Partial<Record<Dialect, string>>>>> = {
  crates: {
    postgres: "CREATE UNIQUE INDEX by_kind ON crates (kind, slot)",
    mariadb: "ALTER TABLE crates MODIFY slot varchar(200) EXACT, ADD UNIQUE by_kind (kind, slot)",
    sqlite: "CREATE UNIQUE INDEX by_kind ON crates (kind, slot)",
  },
  drawers: {
    postgres: "CREATE UNIQUE INDEX by_part ON drawers (slot) WHERE kind = 'k' AND slot <> ''",
    sqlite: "CREATE UNIQUE INDEX by_part ON drawers (slot) WHERE kind = 'k' AND slot <> ''",
  },
  boxes: {
    postgres: "CREATE UNIQUE INDEX by_expression ON boxes (lower(slot || kind))",
    mariadb:
      "ALTER TABLE boxes ADD low varchar(200) EXACT AS (lower(slot)), ADD UNIQUE by_expression (low)",
    sqlite: "CREATE UNIQUE INDEX by_expression ON boxes (lower(slot || kind))",
  },
};
/** As {@link SHELVES}, with these at the target. */
const OTHERS = Object.keys(OTHER_INDEXES).map((name): TestTable => ({ ...LOCKERS, name }));

type Games = Readonly<Record<string, readonly string[]>>;

/** Each one transaction; legal wherever unique keys are checked row by row. */
const STEP_BY_STEP: Games = {
  "a key moves": ["UPDATE t SET id = 100 WHERE id = 1"],
  "a key moves back, its values with it": ["UPDATE t SET id = 1, note = 'back' WHERE id = 100"],
  "two keys are swapped": [
    "UPDATE t SET id = -1 WHERE id = 1",
    "UPDATE t SET id = 1 WHERE id = 2",
    "UPDATE t SET id = 2 WHERE id = -1",
  ],
  "three keys change in a circle": [
    "UPDATE t SET id = -1 WHERE id = 1",
    "UPDATE t SET id = 1 WHERE id = 2",
    "UPDATE t SET id = 2 WHERE id = 3",
    "UPDATE t SET id = 3 WHERE id = -1",
  ],
  "all keys move in one statement": ["UPDATE t SET id = id + 1000"],
  "all keys move back in one statement": ["UPDATE t SET id = id - 1000"],
  "a key is deleted and inserted again": [
    "DELETE FROM t WHERE id = 1",
    "INSERT INTO t (id, slot, note) VALUES (1, 'again', 'new')",
  ],
  "a key comes, goes and comes": [
    "INSERT INTO t (id, slot, note) VALUES (50, 'f', 'first')",
    "DELETE FROM t WHERE id = 50",
    "INSERT INTO t (id, slot, note) VALUES (50, 'f', 'second')",
  ],
  "a key comes and goes": [
    "INSERT INTO t (id, slot, note) VALUES (51, 'g', 'first')",
    "DELETE FROM t WHERE id = 51",
  ],
  "two unique values are swapped": [
    "UPDATE t SET slot = NULL WHERE id = 2",
    "UPDATE t SET slot = 'two' WHERE id = 3",
    "UPDATE t SET slot = 'three' WHERE id = 2",
    "UPDATE t SET slot = NULL WHERE id = 3",
    "UPDATE t SET slot = 'three' WHERE id = 3 AND 1 = 0",
    "UPDATE t SET slot = 'two' WHERE id = 3",
  ],
  "three unique values change in a circle": [
    "UPDATE t SET slot = 'c1' WHERE id = 1",
    "UPDATE t SET slot = 'c2' WHERE id = 2",
    "UPDATE t SET slot = 'c3' WHERE id = 3",
    "UPDATE t SET slot = 'spare' WHERE id = 1",
    "UPDATE t SET slot = 'c1' WHERE id = 2",
    "UPDATE t SET slot = 'c2' WHERE id = 3",
    "UPDATE t SET slot = 'c3' WHERE id = 1",
  ],
  "and in a circle again": [
    "UPDATE t SET slot = 'spare' WHERE id = 1",
    "UPDATE t SET slot = 'c3' WHERE id = 2",
    "UPDATE t SET slot = 'c1' WHERE id = 3",
    "UPDATE t SET slot = 'c2' WHERE id = 1",
  ],
  "a new row takes the value of one that is deleted": [
    "DELETE FROM t WHERE id = 4",
    "INSERT INTO t (id, slot, note) VALUES (60, 'slot 4', 'heir')",
  ],
  "a new row takes the value that another gives up": [
    "UPDATE t SET slot = 'moved on' WHERE id = 5",
    "INSERT INTO t (id, slot, note) VALUES (61, 'slot 5', 'heir')",
  ],
  "keys are swapped, and unique values with them": [
    "UPDATE t SET id = -6, slot = NULL WHERE id = 6",
    "UPDATE t SET id = 6, slot = 'slot 6' WHERE id = 7",
    "UPDATE t SET id = 7, slot = 'slot 7' WHERE id = -6",
  ],
};

/** Legal only where they are checked when the statement, or the transaction, has ended. */
const DEFERRED: Games = {
  "two unique values are swapped in one statement": [
    "UPDATE t SET slot = CASE id WHEN 1 THEN 'slot 2' ELSE 'slot 1' END WHERE id IN (1, 2)",
  ],
  "three unique values change in a circle in one statement": [
    "UPDATE t SET slot = CASE id WHEN 1 THEN 'slot 3' WHEN 2 THEN 'slot 1' ELSE 'slot 2' END WHERE id IN (1, 2, 3)",
  ],
  "two keys are swapped in one statement": ["UPDATE t SET id = 3 - id WHERE id IN (1, 2)"],
  "three keys change in a circle in one statement": [
    "UPDATE t SET id = CASE id WHEN 3 THEN 1 ELSE id + 1 END WHERE id IN (1, 2, 3)",
  ],
  "a row takes a value that another gives up later": [
    "UPDATE t SET slot = 'slot 9' WHERE id = 8",
    "UPDATE t SET slot = 'given up' WHERE id = 9",
  ],
  "a new row takes a value that another gives up later": [
    "INSERT INTO t (id, slot, note) VALUES (70, 'slot 10', 'heir')",
    "UPDATE t SET slot = 'given up, too' WHERE id = 10",
  ],
  "a new row takes the key of one that moves away later": [
    "INSERT INTO t (id, slot, note) VALUES (11, 'eleven', 'heir')",
    "UPDATE t SET id = 71 WHERE slot = 'slot 11'",
  ],
  "keys and unique values change hands at once": [
    "UPDATE t SET id = 25 - id, slot = CASE id WHEN 12 THEN 'slot 13' ELSE 'slot 12' END WHERE id IN (12, 13)",
    "UPDATE t SET slot = CASE id WHEN 12 THEN 'slot 13' ELSE 'slot 12' END WHERE id IN (12, 13)",
  ],
};

describe.each(ELEVEN_PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  describe.skipIf(!available(pair))("", () => registerKeyTests(pair));
});

function registerKeyTests(pair: TestPair): void {
  const deferrable = dialectOf(pair.source) === "postgres";

  test("keys and unique values change hands", async () => {
    await using bed = await bedWithRows(pair);
    const play = await player(bed);
    for (const [game, statements] of Object.entries(STEP_BY_STEP)) {
      await play(deferrable ? [LOCKERS] : [LOCKERS, ...OTHERS], game, statements);
    }
    if (!deferrable) return;
    for (const [game, statements] of Object.entries(DEFERRED)) {
      await play([SHELVES, ...OTHERS], game, statements);
    }
  });

  if (deferrable) {
    test("more rows than are applied at a time move up by one place", () => moveUp(pair));
  }

  test("a unique key of not-null columns in place of a primary one", async () => {
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    const source = await bed.sql("source");
    await createTables(source, pair.source, [UNIQUE_ONLY]);
    const atTarget = asTarget(UNIQUE_ONLY, pair.source, pair.target);
    await createTables(await bed.sql("target"), pair.target, [atTarget]);
    for (const part of [1, 2, 3]) {
      await insertRow(source, UNIQUE_ONLY, { box: "standing", part, note: `n${part}` });
    }
    const play = await startPlayer(bed, { tables: [UNIQUE_ONLY] });
    await play(
      "UPDATE parts SET part = 30, note = NULL WHERE part = 3",
      "UPDATE parts SET part = 3 WHERE part = 1",
    );
    await play(
      "DELETE FROM parts WHERE part = 2",
      "INSERT INTO parts (box, part, note) VALUES ('standing', 2, 'again')",
    );
    // Equal notes are two rows still.
    await play("UPDATE parts SET note = 'same'");
    await play("DELETE FROM parts WHERE part = 3");
  });

  test("random games", async () => {
    const random = new Random(testSeed());
    await using bed = await bedWithRows(pair);
    const source = await bed.sql("source");
    const play = await player(bed);
    for (let round = 0; round < 12; round++) {
      for (let n = random.between(1, 6); n > 0; n--) {
        await randomTransaction(source, random, LOCKERS);
        await randomTransaction(source, random, OTHERS[round % OTHERS.length] as TestTable);
        if (deferrable) await randomTransaction(source, random, SHELVES);
      }
      await play([LOCKERS, SHELVES, ...OTHERS], `round ${round}`, []);
    }
  });
}

async function moveUp(pair: TestPair): Promise<void> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, [ITEMS]);
  await makeDeferrable(source, ITEMS.name, "UNIQUE (place)", "place_key");
  const atTarget = asTarget(ITEMS, pair.source, pair.target);
  await createTables(await bed.sql("target"), pair.target, [atTarget]);
  await source.run("INSERT INTO items SELECT n, n FROM generate_series(1, 12000) n");
  const play = await startPlayer(bed, { tables: [ITEMS] });
  await play("UPDATE items SET place = place + 1");
}

test.skipIf(!available({ source: "sqlite", target: "postgres", queue: "embedded" }))(
  "a deferrable key at the target is refused, whatever stands beside it, with what mends it",
  async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "postgres" });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    await createTables(source, "sqlite", [LOCKERS]);
    await createTables(target, "postgres", [asTarget(LOCKERS, "sqlite", "postgres")]);
    await makeDeferrable(target, LOCKERS.name, "PRIMARY KEY (id)", "pkey");
    await target.run("CREATE UNIQUE INDEX beside ON lockers (id)");
    const mends =
      'ALTER TABLE "public"."lockers" DROP CONSTRAINT lockers_pkey, ADD PRIMARY KEY ("id")';
    const definition = bed.define([{ from: "source", to: "target", tables: [LOCKERS.name] }]);
    await expect(bed.open(definition)).rejects.toMatchObject({
      code: "TM-COLUMN-UNFIT",
      message: expect.stringContaining(mends),
    });
    await target.run(mends);
    const pipeline = await bed.start(definition);
    await insertRow(source, LOCKERS, { id: 1, slot: "a", note: "first" });
    await source.run("UPDATE lockers SET note = 'second'");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.expectSame(LOCKERS);
  },
);

const NEWEST: TestPair = {
  source: "postgres-newest",
  target: "postgres-newest",
  queue: "embedded",
};

test.skipIf(!available(NEWEST))(
  "a key WITHOUT OVERLAPS tells rows apart, and at the target needs a plain one beside it",
  async (context) => {
    await using bed = await TestBed.make({ source: NEWEST.source, target: NEWEST.target });
    const [source, target] = [await bed.sql("source"), await bed.sql("target")];
    const [version] = await source.rows("SHOW server_version_num");
    if (Number(version?.server_version_num) < 180_000) context.skip("PostgreSQL 18 has it");
    for (const sql of [source, target]) {
      await sql.run(
        "CREATE TABLE stays (room int4range, during daterange, guest text, PRIMARY KEY (room, during WITHOUT OVERLAPS))",
      );
    }
    await source.run(
      "INSERT INTO stays VALUES ('[1,2)', '[2020-01-01,2020-02-01)', 'a'), ('[1,2)', '[2020-02-01,2020-03-01)', 'b')",
    );
    const mends = 'CREATE UNIQUE INDEX ON "public"."stays" ("room", "during")';
    const definition = bed.define([{ from: "source", to: "target", tables: ["stays"] }]);
    await expect(bed.open(definition)).rejects.toMatchObject({
      code: "TM-COLUMN-UNFIT",
      message: expect.stringContaining(mends),
    });
    await target.run(mends);
    const pipeline = await bed.start(definition);
    await source.run("UPDATE stays SET guest = 'c' WHERE guest = 'a'");
    await source.run("UPDATE stays SET during = '[2020-02-10,2020-02-20)' WHERE guest = 'b'");
    await source.run("UPDATE stays SET during = '[2020-01-01,2020-02-05)' WHERE guest = 'c'");
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const read = "SELECT room::text, during::text, guest FROM stays ORDER BY during";
    expect(await target.rows(read)).toEqual(await source.rows(read));
  },
);

async function bedWithRows(pair: TestPair): Promise<TestBed> {
  const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, [LOCKERS, SHELVES, ...OTHERS]);
  const target = await bed.sql("target");
  const plain = [LOCKERS, SHELVES, ...OTHERS.map((table) => ({ ...table, unique: [] }))];
  await createTables(
    target,
    pair.target,
    plain.map((table) => asTarget(table, pair.source, pair.target)),
  );
  for (const { name } of OTHERS) {
    await target.run(`ALTER TABLE ${name} ADD COLUMN kind varchar(9) DEFAULT 'k'`);
    const index = OTHER_INDEXES[name]?.[target.dialect];
    if (index !== undefined) await target.run(index.replace("EXACT", exact(pair.target)));
  }
  if (source.dialect === "postgres") {
    for (const { name } of [SHELVES, ...OTHERS]) {
      await makeDeferrable(source, name, "PRIMARY KEY (id)", "pkey");
      await makeDeferrable(source, name, "UNIQUE (slot)", "slot_key");
    }
  }
  if (target.dialect === "postgres") {
    await makeDeferrable(target, LOCKERS.name, "UNIQUE (slot)", "slot_key");
  }
  await transaction(source, async () => {
    for (let id = 1; id <= 13; id++) {
      for (const table of [LOCKERS, SHELVES, ...OTHERS]) {
        await insertRow(source, table, { id, slot: `slot ${id}`, note: `row ${id}` });
      }
    }
  });
  return bed;
}

async function makeDeferrable(
  sql: SqlClient,
  table: string,
  constraint: string,
  name: string,
): Promise<void> {
  await sql.run(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_${name}`);
  await sql.run(`ALTER TABLE ${table} ADD ${constraint} DEFERRABLE`);
}

/** Plays a game in each of the tables, as one transaction. */
type PlayGame = (
  tables: readonly TestTable[],
  game: string,
  statements: readonly string[],
) => Promise<void>;

/** Starts the sync; gives what plays a game at the source and sees how it ends at the target. */
async function player(bed: TestBed): Promise<PlayGame> {
  const source = await bed.sql("source");
  const target = await bed.sql("target");
  const names = [LOCKERS, SHELVES, ...OTHERS].map(({ name }) => name);
  const pipeline = await bed.start(bed.define([{ from: "source", to: "target", tables: names }]));
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  return async (tables, game, statements) => {
    await transaction(source, async () => {
      if (source.dialect === "postgres") await source.run("SET CONSTRAINTS ALL DEFERRED");
      for (const { name } of tables) {
        for (const statement of statements) {
          await source.run(inDialect(statement, source.dialect).replace(/\bt\b/, name));
        }
      }
    });
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of tables) {
      const rows = await contents(target, table);
      const wanted = await contents(source, table);
      expect({ game, name: table.name, rows }).toEqual({ game, name: table.name, rows: wanted });
    }
  };
}

/** Where rows are checked one by one, the order in which all of them move matters. */
function inDialect(statement: string, dialect: Dialect): string {
  const all = /^UPDATE t SET id = id [+-] \d+$/.test(statement);
  return all && dialect === "mariadb" ? `${statement} ORDER BY id` : statement;
}

/** A few changes over few keys and fewer values; what the source refuses is rolled back there. */
async function randomTransaction(
  source: SqlClient,
  random: Random,
  { name }: TestTable,
): Promise<void> {
  const id = () => random.between(1, 9);
  const slot = () => (random.chance(0.2) ? null : `slot ${random.between(1, 9)}`);
  await source.begin();
  try {
    if (source.dialect === "postgres") await source.run("SET CONSTRAINTS ALL DEFERRED");
    for (let n = random.between(1, 8); n > 0; n--) {
      const step = random.pick(["move", "give", "insert", "delete", "swap", "trade"]);
      if (step === "move") await source.run(`UPDATE ${name} SET id = ? WHERE id = ?`, [id(), id()]);
      else if (step === "give") {
        await source.run(`UPDATE ${name} SET slot = ? WHERE id = ?`, [slot(), id()]);
      } else if (step === "insert") {
        const row = [id(), slot(), `note ${n}`];
        await source.run(`INSERT INTO ${name} (id, slot, note) VALUES (?, ?, ?)`, row);
      } else if (step === "delete") await source.run(`DELETE FROM ${name} WHERE id = ?`, [id()]);
      else if (step === "swap") {
        const key = id();
        await source.run(`UPDATE ${name} SET id = 10 - id WHERE id IN (?, ?)`, [key, 10 - key]);
      } else await trade(source, name, [id(), id()]);
      if (random.chance(0.2)) {
        await source.run("SAVEPOINT game");
        await source.run(`DELETE FROM ${name}`);
        await source.run("ROLLBACK TO SAVEPOINT game");
      }
    }
    await source.commit();
  } catch (error) {
    if (!isConstraint(error)) throw error;
    await source.rollback();
  }
}

/** Two rows exchange their unique values, in one statement. */
async function trade(sql: SqlClient, table: string, [one, other]: [number, number]): Promise<void> {
  const rows = await sql.rows(`SELECT id, slot FROM ${table} WHERE id IN (?, ?)`, [one, other]);
  const slotOf = (id: number) => rows.find((row) => row.id === String(id))?.slot ?? null;
  await sql.run(
    `UPDATE ${table} SET slot = CASE id WHEN ${one} THEN ? ELSE ? END WHERE id IN (?, ?)`,
    [slotOf(other), slotOf(one), one, other],
  );
}
