// A column that no sync takes leaves the source nowhere: not in the change log, not in the queue.
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { START } from "../../src/core/position.ts";
import type { Queue } from "../../src/core/queue.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import type { SqlClient } from "../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const CARDS: TestTable = {
  name: "cards",
  columns: { id: "integer", holder: "varchar", card_number: "varchar" },
  key: ["id"],
};

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "embedded" },
  { source: "mariadb", target: "sqlite", queue: "nats" },
  { source: "mysql", target: "sqlite", queue: "embedded" },
];

/** A table `cards` that is captured in another way than one that is plain. */
interface Shape {
  readonly title: string;
  readonly pair: TestPair;
  readonly create: readonly string[];
  /** Instead of the changes of every table. */
  readonly changes?: readonly string[];
  /** Beside `cards`. */
  readonly more?: readonly string[];
}

const COLUMNS = "holder varchar(50), card_number varchar(50)";
const KEYLESS = `CREATE TABLE cards (id int, ${COLUMNS})`;
const KEYED = `CREATE TABLE cards (id int NOT NULL PRIMARY KEY, ${COLUMNS})`;

const [FROM_SQLITE, FROM_POSTGRES, FROM_MARIADB, FROM_MYSQL] = PAIRS as [
  TestPair,
  TestPair,
  TestPair,
  TestPair,
];

const SHAPES: readonly Shape[] = [
  ...[FROM_SQLITE, FROM_POSTGRES, FROM_MARIADB].map((pair) => ({
    title: "a table without a key",
    pair,
    // Which SQLite copies in WAL mode only.
    create: pair === FROM_SQLITE ? ["PRAGMA journal_mode = WAL", KEYLESS] : [KEYLESS],
  })),
  {
    title: "a partitioned table, whose columns stand in another order below",
    pair: FROM_POSTGRES,
    create: [
      `CREATE TABLE cards (id int PRIMARY KEY, ${COLUMNS}) PARTITION BY RANGE (id)`,
      "CREATE TABLE low PARTITION OF cards FOR VALUES FROM (0) TO (5)",
      "CREATE TABLE high (card_number varchar(50), id int NOT NULL, holder varchar(50))",
      "ALTER TABLE cards ATTACH PARTITION high FOR VALUES FROM (5) TO (100)",
    ],
  },
  {
    title: "a table with a trigger of its own",
    pair: FROM_POSTGRES,
    create: [
      KEYED,
      `CREATE FUNCTION own() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         UPDATE cards SET card_number = 'hidden-9' WHERE id = NEW.id; RETURN NULL; END $$`,
      "CREATE TRIGGER own AFTER INSERT ON cards FOR EACH ROW EXECUTE FUNCTION own()",
    ],
  },
  {
    title: "a table with a trigger of its own",
    pair: FROM_SQLITE,
    create: [
      KEYED,
      `CREATE TRIGGER own AFTER INSERT ON cards BEGIN
         UPDATE cards SET card_number = 'hidden-9' WHERE id = NEW.id; END`,
    ],
  },
  {
    title: "a table with a trigger of its own",
    pair: FROM_MARIADB,
    create: [
      KEYED,
      "CREATE TRIGGER own BEFORE UPDATE ON cards FOR EACH ROW SET NEW.card_number = 'hidden-9'",
    ],
  },
  ...[FROM_MARIADB, FROM_MYSQL].map((pair) => ({
    title: "rows that a foreign key's action changes",
    pair,
    more: ["holders"],
    create: [
      "CREATE TABLE holders (id int NOT NULL PRIMARY KEY, pin varchar(50))",
      `CREATE TABLE cards (id int NOT NULL PRIMARY KEY, ${COLUMNS}, holder_id int,
         FOREIGN KEY (holder_id) REFERENCES holders (id) ON UPDATE CASCADE ON DELETE CASCADE)`,
      "INSERT INTO holders VALUES (1, 'hidden-pin'), (2, 'hidden-pin')",
      "INSERT INTO cards VALUES (11, 'seen-11', 'hidden-11', 1), (12, 'seen-12', 'hidden-12', 2)",
    ],
    changes: [
      "UPDATE holders SET id = 5 WHERE id = 1",
      "UPDATE cards SET holder = 'seen-5' WHERE id = 11",
      "DELETE FROM holders WHERE id IN (2, 5)",
      "INSERT INTO holders VALUES (7, 'hidden-pin')",
    ],
  })),
];

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("neither copied nor changed rows carry it", async () => {
    await using bed = await bedWithCards(pair);
    await expectLeftOut(bed, pair);
  });
});

describe.each(SHAPES.map((shape) => [shape.pair.source, shape.title, shape] as const))(
  "%s: %s",
  (_source, _title, shape) => {
    const { pair, create } = shape;
    test.skipIf(!available(pair))("does not carry it", async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      await runAll(await bed.sql("source"), [...create, FIRST_CARD]);
      await expectLeftOut(bed, pair, shape);
    });
  },
);

const FIRST_CARD = "INSERT INTO cards (id, holder, card_number) VALUES (1, 'seen-1', 'hidden-1')";
const CHANGES = [
  "INSERT INTO cards (id, holder, card_number) VALUES (2, 'seen-2', 'hidden-2')",
  "UPDATE cards SET card_number = 'hidden-3', holder = 'seen-3' WHERE id = 1",
  "UPDATE cards SET card_number = 'hidden-4' WHERE id = 1",
  "UPDATE cards SET id = 9, holder = 'seen-5' WHERE id = 2",
  "DELETE FROM cards WHERE id = 9",
];

/** Neither the copy of `cards` nor these changes leave a trace of what is hidden; what is seen arrives. */
async function expectLeftOut(
  bed: TestBed,
  pair: TestPair,
  { changes = CHANGES, more = [] }: Partial<Pick<Shape, "changes" | "more">> = {},
): Promise<void> {
  const source = await bed.sql("source");
  const tables = [
    { table: "cards", except: ["card_number"] },
    ...more.map((table) => ({ table, except: ["pin"] })),
  ];
  const definition = bed.define([{ from: "source", to: "target", tables }]);
  const copying = await bed.start(definition);
  await copying.waitFor({ timeoutMs: PATIENCE_MS });
  await bed.stop(copying);
  // Nobody applies, so that the log keeps what is written now, and the queue too.
  const relaying = await bed.start(definition, { role: "relay" });
  await runAll(source, changes);
  const queue = relaying.queue;
  await expect.poll(() => messages(queue), { timeout: PATIENCE_MS }).toContain("seen-5");
  const log = await ourTables(source);
  const queued = `${await messages(queue)}${await documents(queue)}`;
  expect(log).toContain("seen-5");
  for (const text of [log, queued, filesOf(bed, pair)]) expectNoTrace(text);
}

async function runAll(sql: SqlClient, statements: readonly string[]): Promise<void> {
  for (const statement of statements) await sql.run(statement);
}

test("where another sync takes it, it is in the log and the queue, and plan says so", async () => {
  const pair = FROM_SQLITE;
  await using bed = await bedWithCards(pair, { other: "sqlite" });
  const tables = ["cards"];
  const definition = bed.define([
    { from: "source", to: "target", tables: [{ table: "cards", except: ["card_number"] }] },
    { from: "source", to: "other", tables },
  ]);
  const plan = await makePlan(definition, silentLogger);
  expect(plan.databases.find(({ name }) => name === "source")?.notes.join("\n")).toContain(
    "column card_number is left out of source->target, yet stands in the change log and in the queue, since source->other takes it",
  );
  const pipeline = await bed.start(definition);
  await insertRow(await bed.sql("source"), CARDS, { id: 2, holder: "b", card_number: "hidden-2" });
  await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
  const columns = async (name: string) =>
    Object.keys((await (await bed.sql(name)).rows("SELECT * FROM cards"))[0] ?? {});
  expect(await columns("target")).toEqual(["id", "holder"]);
  expect(await columns("other")).toEqual(["id", "holder", "card_number"]);
});

async function bedWithCards(pair: TestPair, more: Record<string, "sqlite"> = {}) {
  const bed = await TestBed.make({ source: pair.source, target: pair.target, ...more }, pair);
  const source = await bed.sql("source");
  await createTables(source, pair.source, [CARDS]);
  await insertRow(source, CARDS, { id: 1, holder: "seen-1", card_number: "hidden-1" });
  return bed;
}

/** As text, and as the digits that bytes travel in. */
function expectNoTrace(text: string): void {
  expect(text).not.toContain("hidden-");
  expect(text).not.toContain(Buffer.from("hidden-").toString("hex"));
}

async function ourTables(sql: SqlClient): Promise<string> {
  const names = await sql.rows(
    sql.dialect === "sqlite"
      ? "SELECT name FROM sqlite_schema WHERE type = 'table' AND name LIKE 'tidemark%'"
      : sql.dialect === "postgres"
        ? "SELECT 'tidemark.' || tablename AS name FROM pg_tables WHERE schemaname = 'tidemark'"
        : "SELECT table_name AS name FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name LIKE 'tidemark%'",
  );
  const rows = [];
  for (const { name } of names) rows.push(await sql.rows(`SELECT * FROM ${name}`));
  return JSON.stringify(rows);
}

/** All that stands in the stream, read as an applier would. */
async function messages(queue: Queue): Promise<string> {
  const stream = await queue.openStream("source");
  let left = (await stream.stats()).messages;
  let text = "";
  const reading = new AbortController();
  if (left === 0) return text;
  for await (const { body } of stream.read(START, reading.signal)) {
    text += Buffer.from(body).toString("latin1");
    if (--left === 0) reading.abort();
  }
  return text;
}

async function documents(queue: Queue): Promise<string> {
  return JSON.stringify([...(await queue.documents.list(""))]);
}

/** The files of the embedded queue, in which the rows copied earlier have left their bytes. */
function filesOf(bed: TestBed, { queue }: TestPair): string {
  if (queue !== "embedded") return "";
  const files = readdirSync(bed.folder).filter((name) => name.startsWith("queue.db"));
  const text = files.map((name) => readFileSync(join(bed.folder, name), "latin1")).join("");
  expect(text).toContain("seen-1");
  return text;
}

describe.each([
  ["sqlite", "postgres", "a int, b int GENERATED ALWAYS AS (a * 2) STORED"],
  ["postgres", "sqlite", "a int, b int GENERATED ALWAYS AS (a * 2) STORED"],
  ["mysql", "mariadb", "a int, b int AS (a * 2) VIRTUAL"],
] as const)("%s to %s", (source, target, columns) => {
  const pair = { source, target, queue: "embedded" } as const;
  test.skipIf(!available(pair))(
    "a generated column of a table that is made is told by plan",
    async () => {
      await using bed = await TestBed.make({ source, target });
      for (const name of ["sums", "plain"]) {
        const all = name === "sums" ? columns : "a int";
        await (await bed.sql("source")).run(`CREATE TABLE ${name} (id int PRIMARY KEY, ${all})`);
      }
      const definition = bed.define([{ from: "source", to: "target", tables: ["*"] }]);
      const notes = async () =>
        (await makePlan(definition, silentLogger)).databases
          .flatMap((each) => each.notes)
          .filter((note) => note.includes("generated columns are not sent"));
      expect(await notes()).toEqual([expect.stringMatching(/sums: made without b, /)]);
      // One that stands computes its own, or was made without on purpose.
      const types = target === "mariadb" ? "a int, b int AS (a * 2)" : columns;
      await (await bed.sql("target")).run(`CREATE TABLE sums (id int PRIMARY KEY, ${types})`);
      expect(await notes()).toEqual([]);
    },
  );
});
