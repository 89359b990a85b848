import { Applier } from "../../../src/applier/applier.ts";
import { keys, lastSegment, type Notice, type Order } from "../../../src/core/documents.ts";
import { type TidemarkError, toTidemarkError } from "../../../src/core/errors.ts";
import { type Logger, silentLogger } from "../../../src/core/log.ts";
import { rulesPrint } from "../../../src/core/rules.ts";
import type { Progress } from "../../../src/core/target.ts";
import { Relay } from "../../../src/relay/relay.ts";
import { Random } from "../../support/random.ts";
import { SimulatedClock } from "./clock.ts";
import { Drops } from "./drops.ts";
import { FunctionServer } from "./function-target.ts";
import { Counters, difference, Oracle, parkedDifference } from "./oracle.ts";
import { People } from "./people.ts";
import type { Plant } from "./plants.ts";
import { SimulatedProcess, type Weather, type World } from "./process.ts";
import { QueueServer, SimulatedQueue } from "./queue-server.ts";
import {
  ALTERED,
  captureTable,
  FILTERED,
  MORE,
  shapesOf,
  syncTable,
  TABLES,
  type TablePlant,
  WITH_MORE,
} from "./shapes.ts";
import { SourceDatabase } from "./source-database.ts";
import { SimulatedSource, type SourceHooks } from "./source-session.ts";
import { Storm } from "./storm.ts";
import { absenceOf, type SimulatedSync } from "./sync.ts";
import { TargetServer } from "./target-server.ts";
import { initialRows, write } from "./workload.ts";

const SOURCE = "a";
/** So long faults fall and the application writes; after that all must be in step within the patience. */
const STORM_MS = 4_000;
const PATIENCE_MS = 120_000;
/** Bounds that some worlds have; nobody is given up for the log's before it has lagged for 30 s. */
const LOG_BYTES = 1_500;
const STREAM_BYTES = [4_000, 16_000] as const;
/** Why a worker may stop for good here; {@link SimulatedWorld} plays the operator who mends it. */
const MENDED = ["TM-BATCH-PURGED", "TM-QUEUE-LIMIT", "TM-SCHEMA-DRIFT"];

type Role = "all" | "relay" | "applier";
const TOPOLOGIES: readonly [readonly Role[], ...(readonly Role[])[]] = [
  ["all"],
  ["relay", "applier"],
  ["all", "all"],
];

/** What one seed has shown. */
export interface Verdict {
  readonly seed: number;
  readonly violations: readonly string[];
  readonly counts: ReadonlyMap<string, number>;
  /** From the end of the storm until all was in step, milliseconds of the world. */
  readonly healedMs: number | null;
}

/** A source, a broker and one or two targets, the workers between them, an application, and a storm. */
export class SimulatedWorld implements World {
  readonly clock: SimulatedClock;
  readonly random: Random;
  readonly counters = new Counters();
  logger: Logger = silentLogger;
  readonly weather: Weather;
  readonly #seed: number;
  readonly #source: SourceDatabase;
  readonly #syncs: readonly SimulatedSync[];
  readonly #queue: QueueServer;
  readonly #oracle: Oracle;
  readonly #processes = new Set<SimulatedProcess>();
  readonly #sourceHooks: SourceHooks;
  readonly #maxLogBytes: number;
  readonly #isBoundSoft: boolean;
  readonly #tablePlant: TablePlant;
  /** Of changes; null: as users have it, which holds any batch of these worlds. */
  readonly #runOf: number | null;
  /** Syncs that were told to copy anew. */
  readonly #told = new Set<string>();
  readonly #people: People;
  readonly #storm: Storm;
  /** How often tables of a target were emptied, to be copied anew. */
  #emptied = 0;
  /** What was compared last, and what it lacked. */
  #compared: { readonly states: readonly unknown[]; readonly lack: string | null } = {
    ...{ states: [], lack: null },
  };

  constructor(seed: number, plant: Plant) {
    this.#seed = seed;
    this.random = new Random(seed);
    this.clock = new SimulatedClock(this.random.fork());
    this.clock.install();
    const { random, clock } = this;
    // Some worlds are calm but for one kind of trouble.
    this.weather = {
      latencyMs: random.pick([0.2, 2, 10]),
      cutChance: random.pick([0, 0.0025, 0.02]),
      killChance: random.pick([0, 0.001, 0.006]),
      deadlockChance: 0.003,
      damageChance: 0.001,
    };
    this.#runOf = random.pick([null, null, 1, 3, 10]);
    if (this.#runOf !== null) this.counters.add("batches applied in small runs");
    const shapes = shapesOf(random.fork(), this.#runOf === null);
    this.#source = new SourceDatabase(shapes, initialRows(random.fork(), shapes));
    this.#oracle = new Oracle(this.#source, () => clock.now);
    const isAbsent = random.chance(0.3);
    this.#tablePlant = plant.tables ?? {};
    this.#queue = new QueueServer({
      onPut: (key, value) => this.#onPut(key, value),
      onAppended: ({ batch }) => {
        if (plant.purgesAtAppend) this.#purgeUnasked(batch);
      },
      onTrimmed: (batch) => this.#onTrimmed(batch),
      passesBy: (key) => plant.tellsNobody === true && this.#isRefusal(key),
    });
    const names = ["a->b", "a->c"].slice(0, isAbsent ? 2 : random.between(1, 2));
    // A function keeps nothing aside.
    const functionAt =
      !shapes[FILTERED].mayFail && random.chance(0.5) ? random.between(0, 1) : null;
    this.#syncs = names.map((name, i) => {
      const drops = new Drops(this.#source);
      const target =
        i === functionAt
          ? this.#functionServer(name, plant)
          : new TargetServer(shapes, {
              onCommit: (before, next) => {
                this.#noteEmptied(before.progress, next.progress);
                this.#oracle.committed(before, next, drops);
              },
              ...(plant.noticesEarly && {
                beforeCommit: (next, process) => this.#noticeEarly(name, next, process),
              }),
              ...plant.target,
            });
      const joinsAtMs = i === 0 ? 0 : random.unit() * (isAbsent ? 1_500 : STORM_MS);
      const absence = i === 1 && isAbsent ? absenceOf(random.fork(), STORM_MS) : null;
      return { name, target, drops, joinsAtMs, absence };
    });
    // One that is away meets the bound of the log or that of the queue.
    const boundsLog = isAbsent && random.chance(0.5);
    this.#maxLogBytes = boundsLog ? LOG_BYTES : Number.MAX_SAFE_INTEGER;
    const [least] = STREAM_BYTES;
    if (isAbsent && !boundsLog) this.#queue.maxStreamBytes = least;
    else if (random.chance(0.2)) this.#queue.maxStreamBytes = random.pick(STREAM_BYTES);
    this.#isBoundSoft = random.chance(0.5);
    this.#sourceHooks = {
      onPurge: (upTo) => this.#onPurge(upTo),
      ...plant.source?.(),
    };
    const [first, ...others] = this.#syncs as [SimulatedSync, ...SimulatedSync[]];
    this.#people = new People({
      ...{ world: this, from: SOURCE, source: this.#source, queue: this.#queue },
      ...{ oracle: this.#oracle, syncs: [first, ...others], mended: MENDED },
      emptied: () => this.#emptied,
      dropsAll: plant.dropsAll === true,
    });
    this.#storm = new Storm({
      ...{ clock, counters: this.counters, source: this.#source, queue: this.#queue },
      targets: [first.target, ...others.map(({ target }) => target)],
      killOne: (chance) => this.#killOne(chance),
      losesCutCommits: plant.losesCutCommits === true,
    });
  }

  async run(): Promise<Verdict> {
    const { clock, random } = this;
    const [first, ...others] = this.#syncs as [SimulatedSync, ...SimulatedSync[]];
    for (const role of this.#roles()) void this.#keepRunning(role, first);
    for (const sync of others) {
      clock.after(sync.joinsAtMs, () => void this.#keepRunning("applier", sync));
    }
    const writers = random.between(1, 4);
    for (let i = 0; i < writers; i++) {
      const options = { random: random.fork(), name: `w${i}`, untilMs: STORM_MS, pauseMs: 60 };
      void write(this.#source, clock, options);
    }
    void this.#people.waitNowAndThen(random.fork());
    if (random.chance(0.5)) void this.#people.orderNowAndThen(random.fork(), STORM_MS);
    void this.#storm.rage(random.fork());
    if (random.chance(0.3)) void this.#alterOnce(random.fork());
    const isBroken = () => this.#oracle.violations.length > 0;
    await clock.run(isBroken, STORM_MS);
    this.#calm();
    const end = this.#syncs.reduce(
      (last, { absence }) => Math.max(last, absence?.untilMs ?? 0),
      clock.now,
    );
    if (end > clock.now) await this.#untilAllAreBack(end);
    await this.#until(() => this.#whatLacks(), end + PATIENCE_MS);
    const healedMs = Math.max(0, clock.now - end);
    await this.#until(() => this.#whatIsLeft(), end + PATIENCE_MS);
    this.counters.add("batch", this.#source.batches.length);
    this.counters.add("transaction", this.#source.commits);
    this.counters.add("change", this.#source.nextSequence - 1);
    const { violations } = this.#oracle;
    const healed = violations.length === 0 ? healedMs : null;
    return { seed: this.#seed, violations, counts: this.counters.all, healedMs: healed };
  }

  /** The application goes on, slowly; once more the broker may lose everything. */
  async #untilAllAreBack(end: number): Promise<void> {
    const random = this.random.fork();
    const options = { random: random.fork(), name: "late", untilMs: end + 1_000, pauseMs: 4_000 };
    void write(this.#source, this.clock, options);
    const loses = random.chance(0.5);
    this.clock.after(random.unit() * (end - this.clock.now), () => {
      if (loses) this.#storm.crashQueue(random);
    });
    await this.clock.run(() => this.#oracle.violations.length > 0, end);
  }

  #functionServer(sync: string, plant: Plant): FunctionServer {
    const { random, counters } = this;
    const { shapes } = this.#source;
    return new FunctionServer({
      ...{ sync, shapes, queue: this.#queue, atOnce: random.pick([undefined, 1, 4]) },
      newest: () => this.#source.batches.length,
      hooks: {
        onRepeat: () => counters.add("function handed the same again"),
        onDelivery: (delivery, stored) => {
          counters.add("function called");
          this.#oracle.delivered(delivery, stored);
        },
        ...plant.function,
      },
    });
  }

  /** Both halves in one process, or in two, or all of it twice. */
  #roles(): readonly Role[] {
    const roles = this.random.pick(TOPOLOGIES);
    if (!(this.#syncs[0]?.target instanceof FunctionServer)) return roles;
    // Nothing keeps two that call one function apart.
    return roles.map((role, i) => (i > 0 && role === "all" ? "relay" : role));
  }

  /** A process manager: whatever dies is started again. */
  async #keepRunning(role: Role, sync: SimulatedSync): Promise<void> {
    for (let life = 1; ; life++) {
      const process = new SimulatedProcess(`${role} ${life}`, this);
      this.#processes.add(process);
      const died = new Promise<void>((resolve) => process.onEnd(resolve));
      if (role !== "applier") this.#start(process, this.#relay(process), null);
      if (role !== "relay") void this.#startApplier(process, sync);
      const { fromMs, untilMs } = sync.absence ?? { fromMs: 0, untilMs: 0 };
      if (this.clock.now < fromMs) this.clock.after(fromMs - this.clock.now, () => process.end());
      await died;
      this.#processes.delete(process);
      await this.clock.sleep(this.random.unit() * 100);
      if (this.clock.now >= fromMs) await this.clock.sleep(untilMs - this.clock.now);
    }
  }

  /** Once the relay tells of the column that the target now has. */
  async #startApplier(process: SimulatedProcess, sync: SimulatedSync): Promise<void> {
    while (this.#source.alteration === "mended") await this.clock.sleep(10);
    if (process.alive) this.#start(process, this.#applier(process, sync), sync);
  }

  async #alterOnce(random: Random): Promise<void> {
    await this.clock.sleep(500 + random.unit() * (STORM_MS - 1_500));
    while (this.clock.now < STORM_MS && !(this.#source.captured && this.#source.alter())) {
      await this.clock.sleep(2);
    }
  }

  #start(
    process: SimulatedProcess,
    worker: { run(onReady: () => void): Promise<void> },
    sync: SimulatedSync | null,
  ): void {
    worker
      .run(() => {})
      .catch((error: unknown) => {
        if (process.alive) this.#stopped(process, sync, toTidemarkError(error));
      });
  }

  /** An operator does what the page of the error says, where it is one that these worlds may bring about. */
  #stopped(
    process: SimulatedProcess,
    sync: SimulatedSync | null,
    { code, message }: TidemarkError,
  ): void {
    // Told: it may still be about to be struck off the list of those that the log is kept for.
    if (code === "TM-BATCH-PURGED" && sync !== null && this.#told.has(sync.name)) {
      this.#told.delete(sync.name);
      this.counters.add("target copied anew at the bound");
      sync.target.empty();
    } else if (code === "TM-SCHEMA-DRIFT" && this.#source.alteration === "made") {
      this.counters.add("table altered");
      this.#source.alteration = "mended";
      // All are started again: the targets have the column now.
      for (const other of this.#processes) other.end();
    } else if (code === "TM-QUEUE-LIMIT" && sync === null) {
      this.counters.add("queue too small for a batch");
      this.#queue.maxStreamBytes *= 2;
    } else {
      this.#oracle.violated(`${process.name} stopped for good: ${code}: ${message}`);
    }
    process.end();
  }

  #toldToCopy(sync: string): boolean {
    return this.#told.has(sync) && !this.#source.confirmed.has(sync);
  }

  #isRefusal(key: string): boolean {
    return this.#syncs.some(({ name }) => key === keys.refusal(SOURCE, name));
  }

  #relay(process: SimulatedProcess): Relay {
    return new Relay({
      source: SOURCE,
      openSource: async () => new SimulatedSource(process, this.#source, this.#sourceHooks),
      queue: new SimulatedQueue(process, this.#queue),
      tables: TABLES.map((table) => {
        const hasMore = table === ALTERED && this.#source.alteration !== null;
        return captureTable(table, this.#source.shapes[table], hasMore);
      }),
      syncs: new Map(
        this.#syncs.map(({ name }) => [
          name,
          {
            fingerprint: fingerprint(this.#source.alteration !== null),
            rules: rulesPrint({ tables: [] }),
          },
        ]),
      ),
      maxLogBytes: this.#maxLogBytes,
      maxStreamBytes: this.#queue.maxStreamBytes,
      isBoundSoft: this.#isBoundSoft,
      // Most often nothing, or no purge would fall into a storm.
      keptMs: this.#seed % 4 === 0 ? 30_000 : 0,
      logger: this.logger,
    });
  }

  #applier(process: SimulatedProcess, { name: sync, target }: SimulatedSync): Applier {
    const queue = new SimulatedQueue(process, this.#queue);
    return new Applier({
      sync,
      from: SOURCE,
      to: "b",
      syncs: new Set(),
      openTarget: async () => target.open(process, queue),
      queue,
      tables: TABLES.map((table) =>
        target.bind(
          syncTable(table, this.#source.shapes, this.#source.hasMore(table), this.#tablePlant),
        ),
      ),
      fingerprint: fingerprint(this.#source.hasMore(ALTERED)),
      checkFit: async () => {},
      logger: this.logger,
      ...(this.#runOf !== null && {
        runBounds: { changes: this.#runOf, bytes: Number.MAX_SAFE_INTEGER },
      }),
    });
  }

  #killOne(random: Random): void {
    const [first, ...others] = this.#processes;
    if (first !== undefined) random.pick([first, ...others]).kill();
  }

  #calm(): void {
    this.#storm.end();
    this.weather.cutChance = 0;
    this.weather.killChance = 0;
    // A batch of all that the storm has held back is thousands of statements: it would hardly ever get through.
    this.weather.deadlockChance = 0;
    this.weather.damageChance = 0;
  }

  /** Lets time pass until nothing lacks, or a guarantee is broken; that nothing comes of it is breaking one. */
  async #until(lack: () => string | null, limitMs: number): Promise<void> {
    const ended = () => this.#oracle.violations.length > 0 || lack() === null;
    if (await this.clock.run(ended, limitMs)) return;
    this.#oracle.violated(`after ${PATIENCE_MS} ms without faults: ${lack()}`);
  }

  #whatLacks(): string | null {
    const { arriving, alteration } = this.#source;
    const seen = [arriving, alteration, ...this.#syncs.map(({ target }) => target.current)];
    // Asked at each step; most change nothing.
    if (seen.some((state, i) => state !== this.#compared.states[i])) {
      this.#compared = { states: seen, lack: this.#compare() };
    }
    return this.#compared.lack;
  }

  #compare(): string | null {
    const { arriving } = this.#source;
    for (const { name, target, drops } of this.#syncs) {
      const { progress, tables } = target.current;
      if (progress.tables.length < TABLES.length) return `${name} has not begun`;
      const copying = progress.tables.find(({ state }) => state !== "live");
      if (copying !== undefined) return `${name}: ${copying.table} is ${copying.state}`;
      for (const table of TABLES) {
        // Nobody is told of a column as long as nothing is written after it came.
        const name = this.#source.hasMore(table) ? WITH_MORE : table;
        if (!target.isCertain(table)) continue;
        const wrong = difference(arriving.get(name), tables.get(table));
        const at = `progress: batch ${progress.position.batch}`;
        if (wrong !== null) return `${name}: ${table} ${wrong} (${at})`;
      }
      const notAside = parkedDifference(arriving, tables, drops.lacking(target.current));
      if (notAside !== null) return `${name}: parked ${notAside}`;
    }
    return null;
  }

  /** G7: what all have confirmed is purged. */
  #whatIsLeft(): string | null {
    const { length } = this.#source.log;
    return length === 0 ? null : `${length} rows are left in the log`;
  }

  #onPut(key: string, value: unknown): void {
    for (const { name } of this.#syncs) {
      if (key === keys.refusal(SOURCE, name)) this.#told.add(name);
    }
    this.#answered(key, value as Order | null);
    this.#stored(key, value as Progress);
    const sync = this.#syncs.find(({ name }) => key === keys.progress(name));
    if (sync === undefined || value === null) return;
    this.#oracle.noticed((value as Notice).position, sync.target.told.position);
  }

  /** A function's progress. */
  #stored(key: string, next: Progress): void {
    const sync = this.#syncs.find(({ name }) => key === keys.delivered(name));
    if (!(sync?.target instanceof FunctionServer)) return;
    const { target, drops } = sync;
    this.#noteEmptied(target.current.progress, next);
    const { before, isSettled } = target.store(next);
    const isCertain = (table: string) => isSettled && target.isCertain(table);
    this.#oracle.stored(before, target.current, drops, isCertain);
  }

  #noteEmptied(before: Progress, next: Progress): void {
    if (next.tables.length < before.tables.length) this.#emptied++;
  }

  #answered(key: string, order: Order | null): void {
    const sync = this.#syncs.find(({ name }) => key === keys.order(name, lastSegment(key)));
    if (sync === undefined || order === null || order.action === "resync") return;
    const { answer } = order;
    if (answer !== null) this.#oracle.answered(answer, sync.drops, sync.target.durable);
  }

  #onPurge(upTo: number): void {
    for (const { name, target } of this.#syncs) {
      const { position, tables } = target.durable.progress;
      // A target that has not joined, or has lost that it had, begins with what is there then; so does one without tables.
      if (tables.length > 0) this.#oracle.purged(upTo, position, this.#toldToCopy(name));
    }
  }

  #onTrimmed(batch: number): void {
    const isLeft = this.#syncs.some(({ name, target }) => {
      const { timeline, position } = target.current.progress;
      return this.#source.confirmed.has(name) && timeline !== "" && position.batch < batch;
    });
    if (isLeft) this.counters.add("target left behind by a full queue");
  }

  async #noticeEarly(sync: string, next: Progress, process: SimulatedProcess): Promise<void> {
    const { timeline, position, hash } = next;
    const at = new Date().toISOString();
    const notice: Notice = {
      ...{ sync, source: SOURCE, timeline, position, hash, at, lagMs: 0, tablesPending: 0 },
      fingerprint: fingerprint(this.#source.hasMore(ALTERED)),
    };
    await new SimulatedQueue(process, this.#queue).documents.put(keys.progress(sync), notice);
  }

  #purgeUnasked(batch: number): void {
    this.#onPurge(batch);
    this.#source.purge(batch);
  }
}

/** Of all the tables together. */
function fingerprint(isAltered: boolean): string {
  return isAltered ? MORE : "";
}
