// One seed for one pair of the world where unique values change hands: writers, a reader of the target, and somebody who
// ends the applier's sessions, cancels their statements and holds rows that they want.
import { mkdirSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import { SECOND_BOUNDS } from "../../../src/applier/run-bounds.ts";
import { sleep } from "../../../src/core/async.ts";
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import type { PipelineOptions } from "../../../src/pipeline/pipeline-options.ts";
import type { TestPair } from "../../support/pairs.ts";
import { asPlainRole } from "../../support/plain-role.ts";
import { Random } from "../../support/random.ts";
import { isConstraint, isTransient, openSql, type SqlClient } from "../../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../../support/test-bed.ts";
import { Watcher } from "../../support/watcher.ts";
import {
  EXCHANGE,
  type ExchangeRules,
  exchangeSql,
  exchangeStep,
  fillSql,
  someRules,
} from "./exchange-schema.ts";
import { nemesisOf } from "./nemesis.ts";

export interface ExchangeSize {
  readonly rounds: number;
  readonly writers: number;
  /** By each writer in each round. */
  readonly transactions: number;
}

export interface ExchangeReport {
  readonly committed: number;
  /** Steps and transactions that the source's own rules forbade. */
  readonly refused: number;
  readonly faults: number;
  readonly looks: number;
}

const RESULTS = ".test-results";

export async function exchange(
  pair: TestPair,
  seed: number,
  size: ExchangeSize,
): Promise<ExchangeReport> {
  const random = new Random(seed);
  const rules = someRules(random, pair);
  const log: string[] = [];
  try {
    return await play(pair, random, rules, size, log);
  } catch (error) {
    const file = `${RESULTS}/exchange-${pair.source}-${pair.target}-${seed}.sql`;
    mkdirSync(RESULTS, { recursive: true });
    writeFileSync(file, log.map((sql) => `${sql};\n`).join(""));
    console.error(
      `npm run soak -- --pair ${pair.source}-${pair.target} --seed ${seed} --world exchange\nits statements: ${file}`,
      error,
    );
    throw error;
  }
}

async function play(
  pair: TestPair,
  random: Random,
  rules: ExchangeRules,
  size: ExchangeSize,
  log: string[],
): Promise<ExchangeReport> {
  await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
  const [source, target] = [await bed.sql("source"), await bed.sql("target")];
  for (const sql of [source, target]) {
    if (sql.dialect === "sqlite") await sql.rows("PRAGMA journal_mode = WAL");
  }
  for (const text of exchangeSql("target", pair.target, rules)) {
    log.push(`/* target */ ${text}`);
    await target.run(text);
  }
  for (const text of [...exchangeSql("source", pair.source, rules), ...fillSql(size.writers)]) {
    log.push(text);
    await source.run(text);
  }
  // A batch of any size passes through in runs. What a statement of the source lets change hands at once the applier
  // comes to in its second try, whose bounds are its own.
  const runOf = random.pick([null, 1, 3, 40, 300]);
  const options =
    runOf === null
      ? {}
      : { runBounds: { changes: runOf, bytes: 1_000_000, second: SECOND_BOUNDS } };
  log.push(`/* ${JSON.stringify({ runOf, rules })} */ SELECT 1`);
  await using writers = new AsyncDisposableStack();
  const writing: Writer[] = [];
  for (let writer = 0; writer < size.writers; writer++) {
    const sql = writers.use(await openSql(bed.database("source")));
    writing.push(new Writer(sql, { random: random.fork(), rules, writer, log }));
  }
  const world = { bed, random, size, writing, options };
  const definition = bed.define([
    { from: "source", to: "target", tables: EXCHANGE.map(({ name }) => name) },
  ]);
  if (!rules.plain) return await pass(world, definition);
  let report: ExchangeReport | undefined;
  await target.run("GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC");
  await asPlainRole(bed, definition, async (limited) => {
    report = await pass(world, limited);
  });
  return report as ExchangeReport;
}

interface World {
  readonly bed: TestBed;
  readonly random: Random;
  readonly size: ExchangeSize;
  readonly writing: readonly Writer[];
  readonly options: Partial<PipelineOptions>;
}

async function pass(
  { bed, random, size, writing, options }: World,
  definition: PipelineDefinition,
): Promise<ExchangeReport> {
  const write = () => Promise.all(writing.map((each) => each.write(size.transactions)));
  // The copy and the first changes overlap.
  const first = write();
  let pipeline = await bed.start(definition, options);
  await using watching = new AsyncDisposableStack();
  watching.defer(() => bed.stop(pipeline));
  const arrived = async (what: string) => {
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    for (const table of EXCHANGE) await bed.expectSame(table, { what });
  };
  await first;
  await arrived("after the copy");
  const looking = watching.use(await openSql(bed.database("target")));
  const seen = new Seen(looking);
  const nemesis = watching.use(
    await nemesisOf(bed.database("target"), random.fork(), [await bed.sql("target"), looking]),
  );
  const reader = new Watcher(() => seen.look(), 3);
  try {
    for (let round = 1; round < size.rounds; round++) {
      const written = write();
      if (round === 2) {
        await bed.stop(pipeline);
        pipeline = await bed.start(definition, options);
      }
      // A start that is broken into is told to whoever started.
      const done = new AbortController();
      const breaking = nemesis.harass(done.signal);
      await written;
      done.abort();
      await breaking;
      await arrived(`round ${round}`);
      await reader.looked();
    }
  } finally {
    await reader.stop();
  }
  expect(seen.wrong.slice(0, 5)).toEqual([]);
  const count = (what: "committed" | "refused") =>
    writing.reduce((sum, writer) => sum + writer[what], 0);
  expect(seen.last, "transactions that have arrived").toBe(count("committed"));
  return {
    ...{ committed: count("committed"), refused: count("refused"), faults: nemesis.faults },
    looks: seen.looks,
  };
}

/** What each transaction does besides: it counts itself in a row of its own in two tables, and by a row of a third. */
class Writer {
  committed = 0;
  refused = 0;
  readonly #sql: SqlClient;
  readonly #random: Random;
  readonly #rules: ExchangeRules;
  readonly #number: number;
  readonly #log: string[];

  constructor(
    sql: SqlClient,
    parts: { random: Random; rules: ExchangeRules; writer: number; log: string[] },
  ) {
    this.#sql = sql;
    this.#random = parts.random;
    this.#rules = parts.rules;
    this.#number = parts.writer;
    this.#log = parts.log;
  }

  async write(transactions: number): Promise<void> {
    for (let turn = 0; turn < transactions; turn++) {
      // Drawn before anything runs, so that what happens cannot change what comes next.
      const random = this.#random.fork();
      try {
        await this.#sql.begin();
        if (await this.#transact(random)) this.committed++;
      } catch (error) {
        if (!isTransient(error) && !isConstraint(error)) throw error;
        this.refused++;
        this.#log.push("ROLLBACK");
        await this.#sql.rollback();
      }
      await sleep(random.unit() * 4);
    }
  }

  async #transact(random: Random): Promise<boolean> {
    const id = -1 - this.#number;
    await this.#run(`UPDATE owners SET n = n + 1 WHERE id = ${id}`);
    const large = random.chance(0.1);
    for (let step = random.between(1, large ? 40 : 4); step > 0; step--) {
      await this.#step(random);
    }
    // Rows that are equal, without a key.
    await this.#run(`INSERT INTO entries VALUES (${this.#number}, ${random.between(1, 3)})`);
    await this.#run(`UPDATE held SET n = n + 1 WHERE id = ${id}`);
    if (random.chance(0.1)) {
      this.#log.push("ROLLBACK");
      await this.#sql.rollback();
      return false;
    }
    await this.#sql.commit();
    this.#log.push(`/* ${this.#number} */ COMMIT`);
    return true;
  }

  /** Under a savepoint, which is given up when a statement is refused, or on purpose. */
  async #step(random: Random): Promise<void> {
    const undo = random.chance(0.15);
    const statements = exchangeStep(random, this.#sql.dialect, this.#rules, this.#number);
    await this.#run("SAVEPOINT step");
    try {
      for (const statement of statements) await this.#run(statement);
      if (!undo) {
        // Keys that are checked only at the end would refuse all of the transaction there.
        if (this.#sql.dialect === "postgres" && random.chance(0.7)) {
          await this.#run("SET CONSTRAINTS ALL IMMEDIATE");
          await this.#run("SET CONSTRAINTS ALL DEFERRED");
        }
        return await this.#run("RELEASE SAVEPOINT step");
      }
    } catch (error) {
      if (!isConstraint(error)) throw error;
      this.refused++;
    }
    await this.#run("ROLLBACK TO SAVEPOINT step");
  }

  async #run(statement: string): Promise<void> {
    this.#log.push(`/* ${this.#number} */ ${statement}`);
    await this.#sql.run(statement);
  }
}

/** Every state of the target is one of the source's: its three counts agree, and never step back. */
class Seen {
  looks = 0;
  last = 0;
  readonly wrong: string[] = [];
  readonly #sql: SqlClient;

  constructor(sql: SqlClient) {
    this.#sql = sql;
  }

  async look(): Promise<void> {
    await this.#sql.beginSnapshot();
    const [row] = await this.#sql.rows(
      `SELECT (SELECT SUM(n) FROM owners WHERE id < 0) AS owners, (SELECT SUM(n) FROM held WHERE id < 0) AS held,
        (SELECT COUNT(*) FROM entries) AS entries`,
    );
    await this.#sql.commit();
    this.looks++;
    const counts = [row?.owners, row?.held, row?.entries].map(Number) as [number, number, number];
    if (new Set(counts).size > 1) this.wrong.push(`torn: ${counts.join(", ")}`);
    if (counts[0] < this.last) this.wrong.push(`back from ${this.last} to ${counts[0]}`);
    this.last = counts[0];
  }
}
