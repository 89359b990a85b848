import { afterEach, beforeEach, expect } from "vitest";
import type { ColumnType } from "../core/column-type.ts";
import type { Catalog, DatabaseAdapter, DatabaseOptions } from "../core/database.ts";
import { type ErrorCode, isTidemarkError } from "../core/errors.ts";
import { silentLogger } from "../core/log.ts";
import type { CaptureTable, ChangeLog, Source } from "../core/source.ts";
import type { TableName } from "../core/table.ts";
import type { Target } from "../core/target.ts";

/** A fresh, empty database on a real server or file. */
export interface DatabaseBed {
  readonly adapter: DatabaseAdapter;
  readonly url: string;
  readonly dialect: Dialect;
  /** One more connection, as an application has it: independent of the adapter. */
  connect(): Promise<SqlSession>;
  /** Removes the database, connections that a test left open included. */
  dispose(): Promise<void>;
}

export interface SqlSession {
  /** One or several statements. Waits, without blocking the process, while another holds a lock. */
  run(sql: string): Promise<void>;
  /** Every value as text. */
  rows(sql: string): Promise<readonly (readonly (string | null)[])[]>;
  close(): Promise<void>;
}

/** How a database spells what the suites need. */
export interface Dialect {
  /** Schema of the suites' tables; null where there are none. */
  readonly schema: string | null;
  /** Can two transactions write at the same time? */
  readonly concurrentWriters: boolean;
  /** Does the database let a session leave foreign keys out of force? */
  readonly relaxes: boolean;
  readonly integer: string;
  /** Text that may be part of a key. */
  readonly text: string;
  readonly begin: string;
  quote(name: string): string;
  /** Every object of the database, as lines, ours included. Internal ones left out. */
  readonly objects: string;
  /** An application's own AFTER trigger: an insert, or an update of `qty`, sets `qty` of the same row to 7 where it is not. */
  bumpTrigger(table: string): readonly string[];
  /** Makes capture of this table miss changes (drops or disables a trigger). */
  breakCapture(session: SqlSession, table: string): Promise<void>;
  /** All rows of all our own tables of the source, as one text: what the log holds. */
  dumpLog(session: SqlSession): Promise<string>;
  /** Values as SQL spells them and the canonical text that capture must give. */
  readonly samples: readonly SourceSample[];
  /** The text as this database's source prints it, for a type that the database does not have. */
  readsBack?(type: ColumnType, text: string): string;
  /** A declared column type that cannot hold the kind `decimal(20,4)` without loss. */
  readonly unfitForDecimal: string;
  /** Text of at most five characters, however strictly that is meant. */
  readonly shortText: string;
}

export interface SourceSample {
  readonly declared: string;
  readonly literal: string;
  /** Canonical text, or the pair of a tagged value. */
  readonly canonical: string | readonly [string, string];
}

/** What a test has open; everything is closed after it. */
export class Bench {
  readonly bed: DatabaseBed;
  readonly #closers: (() => Promise<void>)[] = [];

  constructor(bed: DatabaseBed) {
    this.bed = bed;
  }

  get dialect(): Dialect {
    return this.bed.dialect;
  }

  get options(): DatabaseOptions {
    return { name: "bed", url: this.bed.url, logger: silentLogger };
  }

  name(table: string): TableName {
    return { schema: this.dialect.schema, name: table };
  }

  async sql(): Promise<SqlSession> {
    return this.keep(await this.bed.connect());
  }

  async catalog(): Promise<Catalog> {
    return this.keep(await this.bed.adapter.openCatalog(this.options));
  }

  async source(): Promise<Source> {
    return this.keep(await this.bed.adapter.openSource(this.options));
  }

  async target(): Promise<Target> {
    return this.keep(await this.bed.adapter.openTarget(this.options));
  }

  /** The log, whose lease must be free. */
  async log(source?: Source): Promise<ChangeLog> {
    const log = await (source ?? (await this.source())).openChangeLog();
    if (log === null) throw new ReferenceError("the lease of the relay is not free");
    return this.keep(log);
  }

  /** As the pipeline asks for capture: described by the catalog. */
  async captureTable(table: string, options: CaptureOptions = {}): Promise<CaptureTable> {
    const catalog = await this.bed.adapter.openCatalog(this.options);
    try {
      const [schema] = await catalog.describe([this.name(table)]);
      if (schema === undefined) throw new ReferenceError(`no table ${table}`);
      const columns = options.columns ?? schema.columns.map(({ name }) => name);
      const takesNewColumns = options.columns === undefined;
      return { schema, columns, filters: options.filters ?? [], takesNewColumns };
    } finally {
      await catalog.close();
    }
  }

  async close(): Promise<void> {
    for (const close of this.#closers.reverse()) await close();
    await this.bed.dispose();
  }

  /** Closed when the test ends. */
  keep<T extends { close(): Promise<void> }>(thing: T): T {
    this.#closers.push(() => thing.close());
    return thing;
  }
}

export interface CaptureOptions {
  readonly columns?: readonly string[];
  readonly filters?: readonly string[];
}

/** A bench for each test of the enclosing `describe`. */
export function useBench(createBed: () => Promise<DatabaseBed>): { readonly now: Bench } {
  let bench: Bench | undefined;
  beforeEach(async () => {
    bench = new Bench(await createBed());
  });
  afterEach(async () => {
    await bench?.close();
    bench = undefined;
  });
  return {
    get now() {
      if (bench === undefined) throw new ReferenceError("outside a test");
      return bench;
    },
  };
}

/** Fails unless the work throws one of these codes. */
export async function refuses(work: Promise<unknown>, ...codes: ErrorCode[]): Promise<void> {
  const outcome = await work.then(
    () => "no error",
    (error: unknown) => (isTidemarkError(error) ? error.code : error),
  );
  expect(codes).toContain(outcome);
}

/** `count` rows with a column `n` from 0 on, in SQL that every database reads. */
export function numbers(count: number): string {
  const digits =
    "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4 UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
  const places = String(count - 1).length;
  const terms = Array.from({ length: places }, (_, i) => `t${i}.d * ${10 ** i}`).join(" + ");
  const tables = Array.from({ length: places }, (_, i) => `${digits} AS t${i}`).join(", ");
  return `(SELECT n FROM (SELECT ${terms} AS n FROM ${tables}) AS counted WHERE n < ${count}) AS numbers`;
}
