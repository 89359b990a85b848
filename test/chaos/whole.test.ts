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
import { Watcher } from "../support/watcher.ts";

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

      const reader = await PagesReader.start(() => openSql(bed.database("target")));
      try {
        await reader.saw(0, null);
        await fillPages(source);
        for (let version = 1; version <= 3; version++) {
          await source.run("UPDATE pages SET ver = ver + 1");
          await sleep(random.unit() * 1_000);
          await run.kill();
          run = PipelineProcess.start(config);
          await healed(definition);
          await reader.saw(ROWS, version);
        }
        await source.run("DELETE FROM pages");
        await healed(definition);
        await reader.saw(0, null);
      } finally {
        await reader.stop();
      }
      expect(reader.torn).toEqual([]);
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
      let begin: () => Promise<unknown> = () => fillPages(source);
      // Twice, so that two beginnings of the batch stand in the stream.
      for (let turn = 0; turn < 2; turn++) {
        // A batch that went by whole was too quick: the next one.
        while (!(await halfPublished(definition, begin))) {
          begin = () => source.run("UPDATE pages SET ver = ver + 1");
        }
        await relay.kill();
        begin = async () => {
          relay = PipelineProcess.start(config, ["--role", "relay"]);
        };
      }
      await begin();
      await healed(definition);
      await bed.expectSame(PAGES);
      expect(applier.hasEnded).toBe(false);
    },
    TIMEOUT_MS,
  );
});

/**
 * Does what makes the stream grow. True at a moment when it has grown and ends in the middle of a batch, false
 * when a batch went by whole.
 */
async function halfPublished(
  definition: PipelineDefinition,
  begin: () => Promise<unknown>,
): Promise<boolean> {
  const queue = await openQueue(definition.queue, silentLogger);
  try {
    const stream = await queue.openStream("source");
    const { sequence } = await stream.tail();
    await begin();
    for (;;) {
      const tail = await stream.tail();
      const grows = tail.sequence > sequence && (tail.mark?.batch ?? 0) > 0;
      if (grows) return tail.mark?.last === false;
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

/** Looks at the pages all the time. */
class PagesReader {
  readonly torn: string[] = [];
  readonly #sql: SqlClient;
  readonly #watcher: Watcher;
  #state = "";

  static async start(connect: () => Promise<SqlClient>): Promise<PagesReader> {
    return new PagesReader(await connect());
  }

  private constructor(sql: SqlClient) {
    this.#sql = sql;
    this.#watcher = new Watcher(() => this.#look(), 5);
  }

  /** Resolves when the newest it has seen is this. */
  saw(rows: number, version: number | null): Promise<void> {
    const state = stateText(String(rows), version === null ? null : String(version));
    return this.#watcher.until(() => this.#state === state);
  }

  async stop(): Promise<void> {
    try {
      await this.#watcher.stop();
    } finally {
      await this.#sql[Symbol.asyncDispose]();
    }
  }

  async #look(): Promise<void> {
    try {
      const [row] = await this.#sql.rows(
        "SELECT COUNT(*) AS found, MIN(ver) AS oldest, MAX(ver) AS newest FROM pages",
      );
      const { found = "", oldest = null, newest = null } = row ?? {};
      this.#state = stateText(found, newest);
      const isWhole = ["0", String(ROWS)].includes(found ?? "") && oldest === newest;
      if (!isWhole) this.torn.push(`${this.#state}, the oldest ${oldest}`);
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
  }
}

function stateText(rows: string | null, version: string | null): string {
  return `${rows} rows of version ${version}`;
}
