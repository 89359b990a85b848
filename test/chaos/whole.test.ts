// G3 for what does not fit into one message, one run of memory or one statement: a reader of the
// target sees all of a large transaction or nothing of it, also when the pipeline dies in the middle.
import { describe, expect, test } from "vitest";
import { sleep } from "../../src/core/async.ts";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { silentLogger } from "../../src/core/log.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { available, type TestPair } from "../support/pairs.ts";
import { PipelineProcess, writeConfig } from "../support/pipeline-process.ts";
import { Random, testSeed } from "../support/random.ts";
import { isTransient, openSql, type SqlClient } from "../support/sql-client.ts";
import { healed } from "../support/storm.ts";
import { TestBed } from "../support/test-bed.ts";
import { createTables, type TestTable } from "../support/test-tables.ts";

const PAGES: TestTable = {
  name: "pages",
  columns: { id: "integer", ver: "integer", content: "text" },
  key: ["id"],
  required: ["ver"],
};

/** Several megabytes: dozens of messages, and more than the applier holds at once. */
const ROWS = 25_000;
const TIMEOUT_MS = 300_000;
const FILLING = "x".repeat(200);

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "postgres", queue: "embedded" },
  { source: "postgres", target: "sqlite", queue: "nats" },
  { source: "mariadb", target: "mariadb", queue: "embedded" },
];

describe.each(PAIRS)("$source to $target over $queue", (pair) => {
  test.skipIf(!available(pair))(
    "large transactions arrive whole, through kill -9",
    async () => {
      const random = new Random(testSeed());
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [PAGES]);
      const definition = bed.define([{ from: "source", to: "target", tables: ["pages"] }]);
      const config = writeConfig(bed.folder, definition);
      let run = PipelineProcess.start(config);
      await using _ended = { [Symbol.asyncDispose]: () => run.kill() };
      await healed(definition);

      const reading = new AbortController();
      const reader = watchPages(() => openSql(bed.database("target")), reading.signal);
      try {
        await fillPages(source);
        for (let version = 1; version <= 3; version++) {
          await source.run("UPDATE pages SET ver = ver + 1");
          await sleep(random.unit() * 1_000);
          await run.kill();
          run = PipelineProcess.start(config);
          await healed(definition);
        }
        await source.run("DELETE FROM pages");
        await healed(definition);
      } finally {
        reading.abort();
      }
      const { torn, states } = await reader;
      expect(torn).toEqual([]);
      // Empty, each version or most of them, empty again.
      expect(states.size).toBeGreaterThan(2);
      await bed.expectSame(PAGES);
    },
    TIMEOUT_MS,
  );

  test.skipIf(!available(pair))(
    "a relay that dies in the middle of a batch holds nobody up",
    async () => {
      await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
      const source = await bed.sql("source");
      await createTables(source, pair.source, [PAGES]);
      const definition = bed.define([{ from: "source", to: "target", tables: ["pages"] }]);
      const config = writeConfig(bed.folder, definition);
      await using applier = PipelineProcess.start(config, ["--role", "applier"]);
      let relay = PipelineProcess.start(config, ["--role", "relay"]);
      await using _ended = { [Symbol.asyncDispose]: () => relay.kill() };
      await healed(definition);
      await fillPages(source);
      // Twice, so that two beginnings of the batch stand in the stream.
      for (let turn = 0; turn < 2; turn++) {
        await halfPublished(definition);
        await relay.kill();
        relay = PipelineProcess.start(config, ["--role", "relay"]);
      }
      await healed(definition);
      await bed.expectSame(PAGES);
      expect(applier.hasEnded).toBe(false);
    },
    TIMEOUT_MS,
  );
});

/** Resolves at a moment when the stream grows and ends in the middle of a batch. */
async function halfPublished(definition: PipelineDefinition): Promise<void> {
  const queue = await openQueue(definition.queue, silentLogger);
  try {
    const stream = await queue.openStream("source");
    const { sequence } = await stream.tail();
    for (;;) {
      const tail = await stream.tail();
      const isHalf = tail.mark !== null && tail.mark.batch > 0 && !tail.mark.last;
      if (isHalf && tail.sequence > sequence) return;
      await sleep(1);
    }
  } finally {
    await queue.close();
  }
}

async function fillPages(sql: SqlClient): Promise<void> {
  await sql.begin();
  for (let id = 0; id < ROWS; id += 500) {
    const rows = Array.from({ length: 500 }, (_, index) => `(${id + index}, 0, '${FILLING}')`);
    await sql.run(`INSERT INTO pages (id, ver, content) VALUES ${rows.join(", ")}`);
  }
  await sql.commit();
}

async function watchPages(connect: () => Promise<SqlClient>, signal: AbortSignal) {
  const states = new Set<string>();
  const torn: string[] = [];
  const sql = await connect();
  while (!signal.aborted) {
    try {
      const [row] = await sql.rows(
        "SELECT COUNT(*) AS found, MIN(ver) AS oldest, MAX(ver) AS newest FROM pages",
      );
      const { found, oldest, newest } = row ?? {};
      const state = `${found} rows, versions ${oldest} to ${newest}`;
      states.add(state);
      if (!["0", String(ROWS)].includes(found ?? "") || oldest !== newest) torn.push(state);
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
    await sleep(5);
  }
  await sql[Symbol.asyncDispose]();
  return { states, torn };
}
