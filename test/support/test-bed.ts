// What a whole-pipeline test needs: fresh databases by name, a queue of its own, pipelines between
// them, and an end that leaves nothing behind.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inspect } from "node:util";
import { expect, onTestFailed } from "vitest";
import type {
  DatabaseDefinition,
  DeliverFunction,
  PipelineDefinition,
  SyncDefinition,
  TableRule,
} from "../../src/core/definition.ts";
import type { Logger } from "../../src/core/log.ts";
import { Pipeline } from "../../src/pipeline/pipeline.ts";
import type { PipelineOptions } from "../../src/pipeline/pipeline-options.ts";
import { natsBed } from "../queues/nats-bed.ts";
import { type DatabaseKind, type FreshDatabase, freshDatabase, natsUrl } from "../servers/index.ts";
import { type Commits, openSql, type SqlClient } from "./sql-client.ts";
import { contents, type TestTable } from "./test-tables.ts";

export type QueueKind = "embedded" | "nats";

export interface BedOptions {
  readonly queue?: QueueKind;
  /** A queue that stands already, instead of one of our own. */
  readonly queueUrl?: string;
  /** Servers of the test's own, by database name. */
  readonly servers?: Readonly<Record<string, string>>;
  /** Folders for the files of SQLite, by database name. */
  readonly folders?: Readonly<Record<string, string>>;
  /** Of the client that sql() gives. */
  readonly commits?: Commits;
}

export interface Rules {
  readonly from: string;
  readonly to: string;
  readonly tables: readonly (string | TableRule)[];
  readonly except?: readonly string[];
}

/** Everything here waits for what it needs; this only keeps a stalled pipeline from hanging a test. */
export const PATIENCE_MS = 120_000;

export class TestBed implements AsyncDisposable {
  readonly queueUrl: string;
  readonly folder: string;
  readonly logger: CollectingLogger;
  readonly #databases: ReadonlyMap<string, FreshDatabase>;
  readonly #clients = new Map<string, SqlClient>();
  readonly #pipelines = new Set<Pipeline>();
  readonly #disposeQueue: () => Promise<void>;
  readonly #commits: Commits;

  static async make(
    kinds: Readonly<Record<string, DatabaseKind>>,
    options: BedOptions = {},
  ): Promise<TestBed> {
    const databases = new Map<string, FreshDatabase>();
    for (const [name, kind] of Object.entries(kinds)) {
      const server = options.servers?.[name];
      const within = options.folders?.[name];
      const where = { ...(server && { server }), ...(within && { within }) };
      databases.set(name, await freshDatabase(kind, where));
    }
    return new TestBed(databases, options);
  }

  private constructor(databases: ReadonlyMap<string, FreshDatabase>, options: BedOptions) {
    this.#databases = databases;
    this.#commits = options.commits ?? "as set";
    this.folder = mkdtempSync(join(tmpdir(), "tidemark-bed-"));
    this.logger = new CollectingLogger();
    onTestFailed(() => console.error(this.logger.text()));
    if (options.queueUrl !== undefined) {
      this.queueUrl = options.queueUrl;
      this.#disposeQueue = async () => {};
    } else if (options.queue === "nats") {
      const bed = natsBed(natsUrl());
      this.queueUrl = bed.url;
      this.#disposeQueue = () => bed.dispose();
    } else {
      this.queueUrl = `sqlite:${join(this.folder, "queue.db")}`;
      this.#disposeQueue = async () => {};
    }
  }

  database(name: string): FreshDatabase {
    const database = this.#databases.get(name);
    if (database === undefined) throw new Error(`No database "${name}" in this test.`);
    return database;
  }

  /** The one client that the test itself uses for this database. */
  async sql(name: string): Promise<SqlClient> {
    let client = this.#clients.get(name);
    if (client === undefined) {
      client = await openSql(this.database(name), this.#commits);
      this.#clients.set(name, client);
    }
    return client;
  }

  /** Forgets the client: its server has been killed. */
  async dropSql(name: string): Promise<void> {
    const client = this.#clients.get(name);
    this.#clients.delete(name);
    try {
      await client?.[Symbol.asyncDispose]();
    } catch {
      // nobody is left at the other end
    }
  }

  define(
    syncs: readonly Rules[],
    functions: Readonly<Record<string, DeliverFunction>> = {},
  ): PipelineDefinition {
    const databases: DatabaseDefinition[] = [
      ...[...this.#databases].map(([name, { url }]) => ({ name, url })),
      ...Object.entries(functions).map(([name, deliver]) => ({ name, deliver })),
    ];
    return {
      databases,
      queue: { url: this.queueUrl, maxStreamBytes: 256 * 1024 * 1024 },
      // Nothing that all have applied: tests of purging do not wait for it.
      retention: { maxLogBytes: 1024 * 1024 * 1024, keptMs: 0 },
      syncs: syncs.map(
        ({ from, to, tables, ...others }): SyncDefinition => ({
          ...others,
          name: `${from}->${to}`,
          from,
          to,
          tables: tables.map((rule) => (typeof rule === "string" ? { table: rule } : rule)),
        }),
      ),
    };
  }

  async open(
    definition: PipelineDefinition,
    options: Partial<PipelineOptions> = {},
  ): Promise<Pipeline> {
    const pipeline = await Pipeline.open(definition, { logger: this.logger, ...options });
    this.#pipelines.add(pipeline);
    return pipeline;
  }

  async start(
    definition: PipelineDefinition,
    options: Partial<PipelineOptions> = {},
  ): Promise<Pipeline> {
    const pipeline = await this.open(definition, options);
    await pipeline.start();
    return pipeline;
  }

  /** Stops it and forgets it. */
  async stop(pipeline: Pipeline): Promise<void> {
    this.#pipelines.delete(pipeline);
    await pipeline.stop();
  }

  /** Both sides hold the same rows; `as` where the table has another name at the target. */
  async expectSame(
    table: TestTable,
    options: {
      readonly from?: string;
      readonly to?: string;
      readonly as?: string;
      /** What was done before, for the message of a failure. */
      readonly what?: string;
    } = {},
  ): Promise<void> {
    const source = await contents(await this.sql(options.from ?? "source"), table);
    const copy = { ...table, name: options.as ?? table.name };
    const target = await contents(await this.sql(options.to ?? "target"), copy);
    expect(target, options.what).toEqual(source);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const pipeline of this.#pipelines) await pipeline.stop();
    for (const name of [...this.#clients.keys()]) await this.dropSql(name);
    for (const database of this.#databases.values()) await database[Symbol.asyncDispose]();
    await this.#disposeQueue();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Keeps the log, to be printed when the test fails. */
export class CollectingLogger implements Logger {
  readonly #lines: string[];
  readonly #fields: object;

  constructor(lines: string[] = [], fields: object = {}) {
    this.#lines = lines;
    this.#fields = fields;
  }

  debug(): void {}

  info(fields: object, message: string): void {
    this.#add("info", fields, message);
  }

  warn(fields: object, message: string): void {
    this.#add("warn", fields, message);
  }

  error(fields: object, message: string): void {
    this.#add("error", fields, message);
  }

  child(fields: Record<string, unknown>): CollectingLogger {
    return new CollectingLogger(this.#lines, { ...this.#fields, ...fields });
  }

  text(): string {
    return this.#lines.slice(-200).join("\n");
  }

  #add(level: string, fields: object, message: string): void {
    const at = new Date().toISOString().slice(11, 23);
    const all = inspect({ ...this.#fields, ...fields }, { breakLength: 200, depth: 4 });
    this.#lines.push(`${at} ${level} ${message} ${all}`);
  }
}
