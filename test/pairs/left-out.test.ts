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

describe.each(PAIRS.map((pair) => [title(pair), pair] as const))("%s", (_, pair) => {
  test.skipIf(!available(pair))("neither copied nor changed rows carry it", async () => {
    await using bed = await bedWithCards(pair);
    const source = await bed.sql("source");
    const definition = bed.define([
      { from: "source", to: "target", tables: [{ table: "cards", except: ["card_number"] }] },
    ]);
    const copying = await bed.start(definition);
    await copying.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(copying);
    // Nobody applies, so that the log keeps what is written now, and the queue too.
    const relaying = await bed.start(definition, { role: "relay" });
    await insertRow(source, CARDS, { id: 2, holder: "seen-2", card_number: "hidden-2" });
    await source.run("UPDATE cards SET card_number = 'hidden-3', holder = 'seen-3' WHERE id = 1");
    await source.run("UPDATE cards SET card_number = 'hidden-4' WHERE id = 1");
    await source.run("UPDATE cards SET id = 9, holder = 'seen-5' WHERE id = 2");
    await source.run("DELETE FROM cards WHERE id = 9");
    const queue = relaying.queue;
    await expect.poll(() => messages(queue), { timeout: PATIENCE_MS }).toContain("seen-5");
    const log = await ourTables(source);
    const queued = `${await messages(queue)}${await documents(queue)}`;
    expect(log).toContain("seen-5");
    for (const text of [log, queued, filesOf(bed, pair)]) expectNoTrace(text);
  });
});

test("where another sync takes it, it is in the log and the queue, and plan says so", async () => {
  const [pair] = PAIRS as [TestPair];
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
