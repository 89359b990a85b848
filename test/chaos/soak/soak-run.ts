// One seed for one pair: a schema, writers, checkpoints, and a reader of the target who looks for
// states that the source never had.
import { mkdirSync, writeFileSync } from "node:fs";
import { expect } from "vitest";
import { type RunBounds, SECOND_BOUNDS } from "../../../src/applier/run-bounds.ts";
import type { ColumnMapping } from "../../../src/core/target.ts";
import { Sides } from "../../matrix/sides.ts";
import type { TestPair } from "../../support/pairs.ts";
import { Random } from "../../support/random.ts";
import { isTransient, openSql, type SqlClient } from "../../support/sql-client.ts";
import { PATIENCE_MS, TestBed } from "../../support/test-bed.ts";
import { Watcher } from "../../support/watcher.ts";
import { triggerSql } from "./application-triggers.ts";
import {
  chooseTypes,
  createSql,
  makeSchema,
  type SoakTable,
  type SoakTypes,
} from "./random-schema.ts";
import { insert, markerSql } from "./random-statement.ts";
import { foreignSession, SESSION } from "./sessions.ts";
import { define, type Settled, settle } from "./settle.ts";
import { Writer } from "./writer.ts";

export interface SoakSize {
  readonly rounds: number;
  readonly writers: number;
  /** By each writer in each round. */
  readonly transactions: number;
  /** Column types chosen for the schema. */
  readonly types: number;
}

const BALANCE = 1_000;
const RESULTS = ".test-results";

export async function soak(pair: TestPair, seed: number, size: SoakSize): Promise<SoakReport> {
  const random = new Random(seed);
  await using run = await SoakRun.prepare(pair, random, size);
  try {
    return await run.play();
  } catch (error) {
    const file = `${RESULTS}/soak-${pair.source}-${pair.target}-${seed}.sql`;
    mkdirSync(RESULTS, { recursive: true });
    writeFileSync(file, run.script());
    console.error(
      `npm run soak -- --pair ${pair.source}-${pair.target} --seed ${seed}\nits statements: ${file}`,
      // The runner tells only at its end, which may be an hour away.
      error,
    );
    throw error;
  }
}

export interface SoakReport {
  readonly committed: number;
  readonly refused: number;
  readonly rows: number;
  readonly states: number;
  /** Tables of that kind, of those that stood in the end. */
  readonly keyless: number;
  readonly triggers: number;
}

class SoakRun implements AsyncDisposable {
  readonly #pair: TestPair;
  readonly #random: Random;
  readonly #size: SoakSize;
  readonly #bed: TestBed;
  readonly #types: SoakTypes;
  readonly #tables: readonly SoakTable[];
  readonly #runBounds: RunBounds | undefined;
  /** As the plan told them before anything was created. */
  readonly #mappings: readonly ColumnMapping[];
  /** What was committed or refused, in the order of each writer. */
  readonly #log: string[] = [];
  readonly #writers: Writer[] = [];
  /** Those in the sync, and all in it that hold markers of the sum. */
  #synced: readonly SoakTable[] = [];

  static async prepare(pair: TestPair, random: Random, size: SoakSize): Promise<SoakRun> {
    const bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    try {
      for (const name of ["source", "target"]) {
        const sql = await bed.sql(name);
        for (const statement of SESSION[sql.dialect]) await sql.run(statement);
        if (sql.dialect === "sqlite") await sql.rows("PRAGMA journal_mode = WAL");
      }
      const types = await chooseTypes(random, pair, size.types);
      // The same schema stands at a target of the same kind already, or Tidemark makes it.
      const isMade = pair.source === pair.target && random.chance(0.5);
      const sides = isMade ? ["source", "target"] : ["source"];
      for (const side of pair.source === pair.target ? ["source", "target"] : ["source"]) {
        for (const statement of types.before) await (await bed.sql(side)).run(statement);
      }
      // A batch of any size passes through in runs: of a few changes, each meets what a large one does.
      const runOf = random.pick([null, null, 1, 4]);
      // PostgreSQL lets unique values change hands within a statement, of which no part then stands alone: the
      // applier comes to that in its second try, which takes more together. Where that, too, is of a few changes, none may.
      const mayExchange = runOf === null || random.chance(0.5);
      const second = mayExchange ? { second: SECOND_BOUNDS } : {};
      const runBounds =
        runOf === null ? undefined : { changes: runOf, bytes: 1_000_000, ...second };
      const { dialect } = await bed.sql("source");
      const settled = await settle(bed, makeSchema(random, dialect, types, { mayExchange }), sides);
      return new SoakRun({ pair, random, size, bed, types, settled, runBounds });
    } catch (error) {
      await bed[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(parts: {
    readonly pair: TestPair;
    readonly random: Random;
    readonly size: SoakSize;
    readonly bed: TestBed;
    readonly types: SoakTypes;
    readonly settled: Settled;
    readonly runBounds: RunBounds | undefined;
  }) {
    this.#pair = parts.pair;
    this.#random = parts.random;
    this.#size = parts.size;
    this.#bed = parts.bed;
    this.#types = parts.types;
    this.#tables = parts.settled.tables;
    this.#runBounds = parts.runBounds;
    this.#mappings = parts.settled.mappings;
  }

  async play(): Promise<SoakReport> {
    await this.#fill();
    const { before } = this.#types;
    const types = {
      source: before,
      target: this.#pair.source === this.#pair.target ? before : [],
    };
    await using sides = await Sides.of(this.#bed, { mappings: this.#mappings, types });
    for (let writer = 0; writer < this.#size.writers; writer++) {
      this.#writers.push(await this.#writer(writer));
    }
    this.#synced = this.#tables.filter(({ late }) => !late);
    const options = { runBounds: this.#runBounds };
    let pipeline = await this.#bed.open(define(this.#bed, this.#synced), options);
    // The copy and the first changes overlap.
    let writing = this.#write();
    try {
      await pipeline.start();
    } finally {
      await writing;
    }
    await this.#checkpoint(pipeline, sides);
    const seen: Seen = { states: new Set(), torn: [] };
    await using sql = await openSql(this.#bed.database("target"));
    const reader = this.#watch(sql, seen);
    try {
      await reader.looked();
      for (let round = 1; round < this.#size.rounds; round++) {
        writing = this.#write();
        if (round === 1 && this.#synced.length < this.#tables.length) {
          await this.#bed.stop(pipeline);
          pipeline = await this.#bed.start(define(this.#bed, this.#tables), options);
        }
        await writing;
        if (round === 1) this.#synced = this.#tables;
        await this.#checkpoint(pipeline, sides);
        await reader.looked();
      }
    } finally {
      await Promise.allSettled([writing]);
      await reader.stop();
    }
    expect(seen.torn.slice(0, 5)).toEqual([]);
    const count = (what: "committed" | "refused") =>
      this.#writers.reduce((sum, writer) => sum + writer[what], 0);
    let rows = 0;
    for (const { name } of this.#tables) {
      const sql = await this.#bed.sql("source");
      const [row] = await sql.rows(`SELECT COUNT(*) AS n FROM ${name}`);
      rows += Number(row?.n);
    }
    return {
      committed: count("committed"),
      refused: count("refused"),
      rows,
      states: seen.states.size,
      keyless: this.#tables.filter(({ key }) => key.length === 0).length,
      triggers: this.#tables.filter(({ trigger }) => trigger !== null).length,
    };
  }

  /** The schema and every statement. */
  script(): string {
    const dialect = this.#writers[0]?.sql.dialect ?? "postgres";
    const schema = [
      ...this.#tables.map((table) => createSql(dialect, table)),
      ...this.#tables.flatMap((table) => triggerSql(dialect, table)),
    ];
    const all = [...SESSION[dialect], ...this.#types.before, ...schema, ...this.#log];
    return all.map((sql) => `${sql};\n`).join("");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const { sql } of this.#writers) await sql[Symbol.asyncDispose]();
    await this.#bed[Symbol.asyncDispose]();
  }

  /** Markers, and rows for the copy. */
  async #fill(): Promise<void> {
    const source = await this.#bed.sql("source");
    for (const table of this.#tables) {
      if (table.marked) {
        for (let writer = 0; writer < this.#size.writers; writer++) {
          await this.#run(source, markerSql(this.#random, table, writer));
        }
        if (!table.late) {
          await this.#run(source, `UPDATE ${table.name} SET balance = ${BALANCE} WHERE id < 0`);
        }
      }
      for (let id = 1; id <= 20; id++) {
        const row = insert(this.#random, table, [this.#random.between(1, 30)]);
        await this.#run(source, row).catch((error: unknown) => {
          if (isTransient(error)) throw error;
        });
      }
    }
  }

  async #run(sql: SqlClient, statement: string): Promise<void> {
    this.#log.push(statement);
    await sql.run(statement);
  }

  async #writer(writer: number): Promise<Writer> {
    const sql = await openSql(this.#bed.database("source"));
    const random = this.#random.fork();
    for (const statement of [...SESSION[sql.dialect], ...foreignSession(random, sql.dialect)]) {
      this.#log.push(`/* ${writer} */ ${statement}`);
      await sql.run(statement);
    }
    return new Writer(sql, random, writer, this.#log);
  }

  async #write(): Promise<void> {
    const moving = this.#synced.filter(({ marked }) => marked);
    await Promise.all(
      this.#writers.map((writer) => writer.write(this.#tables, moving, this.#size.transactions)),
    );
  }

  async #checkpoint(
    pipeline: { waitFor(options: { timeoutMs: number }): Promise<void> },
    sides: Sides,
  ): Promise<void> {
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    await sides.expectSame(this.#synced.map(({ name }) => name));
    const sum = await sumOf(await this.#bed.sql("source"), this.#synced);
    expect(sum, "the source itself").toBe(this.#sum);
  }

  get #sum(): number {
    const early = this.#tables.filter(({ marked, late }) => marked && !late);
    return early.length * this.#size.writers * BALANCE;
  }

  #watch(sql: SqlClient, seen: Seen): Watcher {
    return new Watcher(async () => {
      await sql.beginSnapshot();
      const sum = await sumOf(sql, this.#synced);
      const [state] = await sql.rows(stateSql(this.#synced));
      await sql.commit();
      seen.states.add(JSON.stringify(state));
      if (sum !== this.#sum) {
        seen.torn.push(`the balances add up to ${sum} instead of ${this.#sum}`);
      }
    }, 3);
  }
}

/** By a reader of the target. */
interface Seen {
  readonly states: Set<string>;
  readonly torn: string[];
}

async function sumOf(sql: SqlClient, tables: readonly SoakTable[]): Promise<number> {
  const sums = tables
    .filter(({ marked }) => marked)
    .map(({ name }) => `COALESCE((SELECT SUM(balance) FROM ${name} WHERE id < 0), 0)`);
  const [row] = await sql.rows(`SELECT ${sums.join(" + ")} AS total`);
  return Number(row?.total);
}

function stateSql(tables: readonly SoakTable[]): string {
  const parts = tables.flatMap(({ name }) => [
    `(SELECT COUNT(*) FROM ${name}) AS ${name}_rows`,
    `(SELECT SUM(id * id + n) FROM ${name}) AS ${name}_sum`,
  ]);
  return `SELECT ${parts.join(", ")}`;
}
