// The bank under load between a source and a target while something is being broken: what every
// crash test shares.
import { expect } from "vitest";
import { sleep } from "../../src/core/async.ts";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { silentLogger } from "../../src/core/log.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { waitForSync } from "../../src/pipeline/wait.ts";
import { countApplications, wronglyApplied } from "./applications.ts";
import { BANK, BANK_NAMES, fillBank, runWriter } from "./bank.ts";
import { BankReader, versionsOf } from "./bank-reader.ts";
import { PipelineProcess, type ProcessOptions, writeConfig } from "./pipeline-process.ts";
import type { Random } from "./random.ts";
import { isTransient, openSql } from "./sql-client.ts";
import type { TestBed } from "./test-bed.ts";
import { createTables } from "./test-tables.ts";

/** From the end of the last fault to both sides equal. */
const HEALING_MS = 150_000;
const WRITERS = 3;

export interface Storm {
  readonly random: Random;
  readonly definition: PipelineDefinition;
  /** Starts `tidemark run` with more arguments; it is ended with the storm. */
  run(args?: readonly string[], options?: ProcessOptions): PipelineProcess;
  /** Those that were started and have not ended, oldest first. */
  running(): readonly PipelineProcess[];
  /** Resolves when the target has taken in more entries, so that what comes next hits a working pipeline. */
  progress(): Promise<void>;
  /** Resolves when the source has taken in `entries` more entries, whatever the target does. */
  written(entries: number): Promise<void>;
  /** A moment that nobody chose: up to `ms`, by the seed. */
  chance(ms: number): Promise<void>;
}

/** While writers write and a reader looks. */
export interface WatchedStorm extends Storm {
  /** Resolves when a notice has told that the target has what the source had: from then on no crash takes it back. */
  confirmed(): Promise<void>;
}

export interface StormOptions {
  readonly random: Random;
  /** Starts what shall run first. Default: one `tidemark run`. */
  readonly begin?: (storm: Storm) => Promise<void> | void;
  /** Breaks things; what must run for healing runs when it resolves. */
  readonly faults: (storm: WatchedStorm) => Promise<void>;
}

/** Runs the bank, lets `faults` do their worst, then demands that nothing was lost, doubled or torn. */
export async function weather(bed: TestBed, options: StormOptions): Promise<void> {
  const { random } = options;
  const definition = bed.define([{ from: "source", to: "target", tables: BANK_NAMES }]);
  const config = writeConfig(bed.folder, definition);
  await using processes = new AsyncDisposableStack();
  const started: PipelineProcess[] = [];
  const storm: Storm = {
    random,
    definition,
    run: (args, options) => {
      const run = processes.use(PipelineProcess.start(config, args, options));
      started.push(run);
      return run;
    },
    running: () => started.filter((run) => !run.hasEnded),
    progress: () => grown(bed, "target", 1),
    written: (entries) => grown(bed, "source", entries),
    chance: (ms) => sleep(random.unit() * ms),
  };
  await prepareSource(bed);
  if (options.begin === undefined) storm.run();
  else await options.begin(storm);
  await healed(definition);
  await countApplications(await bed.sql("target"));

  const writing = new AbortController();
  const writers = startWriters(bed, random, writing.signal);
  const forgetful = bed.database("target").kind === "postgres";
  const reader = new BankReader(() => openSql(bed.database("target")), { forgetful });
  const confirmed = async () => {
    const versions = await versionsOf(await bed.sql("source"));
    await healed(definition);
    reader.confirm(versions);
  };
  try {
    await options.faults({ ...storm, confirmed });
    await reader.sawItMove();
    writing.abort();
    await writers;
    await healed(definition);
  } finally {
    writing.abort();
    await Promise.allSettled([writers]);
    await reader.stop();
  }
  expect(reader.violations).toEqual([]);
  for (const name of ["source", "target"]) await bed.dropSql(name);
  for (const table of BANK) await bed.expectSame(table);
  expect(await wronglyApplied(await bed.sql("target"))).toEqual([]);
}

async function prepareSource(bed: TestBed): Promise<void> {
  const source = await bed.sql("source");
  if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
  await createTables(source, bed.database("source").kind, BANK);
  await fillBank(source);
}

function startWriters(bed: TestBed, random: Random, signal: AbortSignal): Promise<number[]> {
  const writers = Array.from({ length: WRITERS }, (_, writer) =>
    runWriter({
      connect: () => openSql(bed.database("source")),
      random: random.fork(),
      writer,
      transactions: Number.POSITIVE_INFINITY,
      longMs: 100,
      pauseMs: 20,
      signal,
    }),
  );
  return Promise.all(writers);
}

/** Everything committed at the source so far can be read at the target. */
export async function healed(definition: PipelineDefinition): Promise<void> {
  const queue = await openQueue(definition.queue, silentLogger);
  try {
    await waitForSync(definition, queue, { timeoutMs: HEALING_MS });
  } finally {
    await queue.close();
  }
}

/** Waits until the ledger on one side has grown. */
async function grown(bed: TestBed, side: "source" | "target", by: number): Promise<void> {
  const until = performance.now() + HEALING_MS;
  let first: number | null = null;
  for (;;) {
    const entries = await countEntries(bed, side);
    first ??= entries;
    if (first !== null && entries !== null && entries >= first + by) return;
    if (performance.now() > until) {
      throw new Error(`The ${side} stands still at ${entries} entries of the ledger.`);
    }
    await sleep(10);
  }
}

/** Null while the database is away. */
async function countEntries(bed: TestBed, side: "source" | "target"): Promise<number | null> {
  try {
    const [row] = await (await bed.sql(side)).rows("SELECT COUNT(*) AS entries FROM ledger");
    return Number(row?.entries);
  } catch (error) {
    if (!isTransient(error)) throw error;
    await bed.dropSql(side);
    return null;
  }
}
