import { Applier } from "../../../src/applier/applier.ts";
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { keys, type Notice } from "../../../src/core/documents.ts";
import { isTidemarkError, toTidemarkError } from "../../../src/core/errors.ts";
import { type Logger, silentLogger } from "../../../src/core/log.ts";
import type { Progress } from "../../../src/core/target.ts";
import { waitForSync } from "../../../src/pipeline/wait.ts";
import { Relay } from "../../../src/relay/relay.ts";
import { Random } from "../../support/random.ts";
import { SimulatedClock } from "./clock.ts";
import { Counters, difference, Oracle } from "./oracle.ts";
import type { Plant } from "./plants.ts";
import { SimulatedProcess, type Weather, type World } from "./process.ts";
import { QueueServer, SimulatedQueue } from "./queue-server.ts";
import { SourceDatabase, TABLES } from "./source-database.ts";
import { SimulatedSource, type SourceHooks, toLayout } from "./source-session.ts";
import { SimulatedTarget, TargetServer } from "./target-server.ts";
import { initialRows, write } from "./workload.ts";

const SOURCE = "a";
/** So long faults fall and the application writes; after that all must be in step within the patience. */
const STORM_MS = 4_000;
const PATIENCE_MS = 120_000;

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

interface SimulatedSync {
  readonly name: string;
  readonly target: TargetServer;
  /** Its applier is first started so late. */
  readonly joinsAtMs: number;
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
  #storm = true;

  constructor(seed: number, plant: Plant) {
    this.#seed = seed;
    this.random = new Random(seed);
    this.clock = new SimulatedClock(this.random.fork());
    this.clock.install();
    const { random, clock } = this;
    // Some worlds are calm but for one kind of trouble.
    this.weather = {
      latencyMs: random.pick([0.2, 2, 10]),
      cutChance: random.pick([0, 0.001, 0.01]),
      killChance: random.pick([0, 0.0005, 0.003]),
    };
    this.#source = new SourceDatabase(initialRows(random.fork()));
    this.#oracle = new Oracle(this.#source, () => clock.now);
    this.#syncs = ["a->b", "a->c"].slice(0, random.between(1, 2)).map((name, index) => ({
      name,
      target: new TargetServer({
        onCommit: (before, next, tables) => this.#oracle.committed(before, next, tables),
        ...(plant.noticesEarly && {
          beforeCommit: (next, process) => this.#noticeEarly(name, next, process),
        }),
        ...plant.target,
      }),
      joinsAtMs: index === 0 ? 0 : random.unit() * STORM_MS,
    }));
    this.#queue = new QueueServer({
      onPut: (key, value) => this.#onPut(key, value),
      onAppended: ({ batch }) => {
        if (plant.purgesAtAppend) this.#purgeUnasked(batch);
      },
    });
    this.#sourceHooks = {
      onPurge: (upTo) => this.#onPurge(upTo),
      ...plant.source?.(),
    };
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
      const options = { random: random.fork(), name: `w${i}`, untilMs: STORM_MS };
      void write(this.#source, clock, options);
    }
    void this.#waitNowAndThen(random.fork());
    void this.#throwFaults(random.fork());
    await clock.run(() => this.#oracle.violations.length > 0, STORM_MS);
    this.#calm();
    const end = clock.now;
    await this.#until(() => this.#whatLacks(), end + PATIENCE_MS);
    const healedMs = clock.now - end;
    await this.#until(() => this.#whatIsLeft(), end + PATIENCE_MS);
    this.counters.add("batch", this.#source.batches.length);
    this.counters.add("transaction", this.#source.commits);
    this.counters.add("change", this.#source.nextSequence - 1);
    const { violations } = this.#oracle;
    const healed = violations.length === 0 ? healedMs : null;
    return { seed: this.#seed, violations, counts: this.counters.all, healedMs: healed };
  }

  /** Both halves in one process, or in two, or all of it twice. */
  #roles(): readonly Role[] {
    return this.random.pick(TOPOLOGIES);
  }

  /** A process manager: whatever dies is started again. */
  async #keepRunning(role: Role, sync: SimulatedSync): Promise<void> {
    for (let life = 1; ; life++) {
      const process = new SimulatedProcess(`${role} ${life}`, this);
      this.#processes.add(process);
      const died = new Promise<void>((resolve) => process.onEnd(resolve));
      if (role !== "applier") this.#start(process, this.#relay(process));
      if (role !== "relay") this.#start(process, this.#applier(process, sync));
      await died;
      this.#processes.delete(process);
      await this.clock.sleep(this.random.unit() * 300);
    }
  }

  #start(process: SimulatedProcess, worker: { run(onReady: () => void): Promise<void> }): void {
    worker
      .run(() => {})
      .catch((error: unknown) => {
        const { code, message } = toTidemarkError(error);
        if (process.alive)
          this.#oracle.violated(`${process.name} stopped for good: ${code}: ${message}`);
      });
  }

  #relay(process: SimulatedProcess): Relay {
    return new Relay({
      source: SOURCE,
      openSource: async () => new SimulatedSource(process, this.#source, this.#sourceHooks),
      queue: new SimulatedQueue(process, this.#queue),
      tables: TABLES.map((table) => {
        const { columns, table: name } = toLayout(table);
        const shape = columns.map((column) => ({ ...column, identity: false }));
        const schema = { name, columns: shape, key: ["id"], uniques: [], foreignKeys: [] };
        return { schema, columns: ["id", "value"], filters: [], takesNewColumns: true };
      }),
      syncs: this.#syncs.map(({ name }) => name),
      maxLogBytes: Number.MAX_SAFE_INTEGER,
      maxStreamBytes: Number.MAX_SAFE_INTEGER,
      logger: this.logger,
    });
  }

  #applier(process: SimulatedProcess, { name: sync, target }: SimulatedSync): Applier {
    return new Applier({
      sync,
      from: SOURCE,
      to: "b",
      openTarget: async () => new SimulatedTarget(process, target),
      queue: new SimulatedQueue(process, this.#queue),
      tables: TABLES.map((table) => {
        const layout = toLayout(table).columns;
        const columns = layout.map(({ name, type }) => ({ name, type }));
        const name = { schema: null, name: table };
        const bound = { name, columns, key: [0], parents: [], cascades: false, followed: false };
        const rule = { table };
        return {
          source: table,
          rule,
          columns: ["id", "value"],
          types: layout.map(({ nativeType }) => nativeType),
          key: ["id"],
          bound,
          fingerprint: "",
        };
      }),
      checkFit: async () => {},
      logger: this.logger,
    });
  }

  /** People and programs that wait for what was committed before they asked. */
  async #waitNowAndThen(random: Random): Promise<void> {
    for (;;) {
      await this.clock.sleep(random.unit() * 1_000);
      const process = new SimulatedProcess("waiter", this);
      const died = new Promise<void>((resolve) => process.onEnd(resolve));
      await Promise.race([this.#waitAs(process), died]);
    }
  }

  async #waitAs(process: SimulatedProcess): Promise<void> {
    const { commits } = this.#source;
    const definition = {
      databases: [],
      queue: { url: "" },
      syncs: this.#syncs.map(({ name }) => ({ name, from: SOURCE, to: name })),
    } as unknown as PipelineDefinition;
    try {
      const queue = new SimulatedQueue(process, this.#queue);
      await waitForSync(definition, queue, { timeoutMs: 20_000 });
      for (const { target } of this.#syncs) {
        this.#oracle.waited(commits, target.current.progress);
      }
      this.counters.add("wait ended");
    } catch (error) {
      if (isTidemarkError(error, "TM-WAIT-TIMEOUT")) return;
      const { code, message } = toTidemarkError(error);
      this.#oracle.violated(`a wait failed: ${code}: ${message}`);
    }
  }

  async #throwFaults(random: Random): Promise<void> {
    const everyMs = random.pick([150, 600, 2_500]);
    const faults = [
      () => this.#killOne(random),
      () => this.#crashQueue(random),
      () => this.#crashTarget(random),
      () => this.#crashSource(random),
    ] as const;
    while (this.#storm) {
      await this.clock.sleep(random.unit() * 2 * everyMs);
      if (this.#storm) random.pick(faults)();
    }
  }

  #killOne(random: Random): void {
    const [first, ...others] = this.#processes;
    if (first !== undefined) random.pick([first, ...others]).kill();
  }

  #crashQueue(random: Random): void {
    const queue = this.#queue;
    if (!queue.up) return;
    queue.crash();
    const way = random.pick(["unsynced", "unsynced", "acknowledged", "everything"]);
    this.counters.add(`queue lost what was ${way}`);
    if (way === "unsynced") queue.loseVolatile();
    else if (way === "acknowledged") queue.loseMessages(random.between(1, 6));
    else queue.wipe();
    this.clock.after(random.unit() * 400, () => queue.restart());
  }

  #crashTarget(random: Random): void {
    const [first, ...others] = this.#syncs as [SimulatedSync, ...SimulatedSync[]];
    const { target } = random.pick([first, ...others]);
    if (!target.up) return;
    target.crash();
    if (target.loseVolatile(random.unit()) > 0) this.counters.add("target lost commits");
    this.counters.add("target crashed");
    this.clock.after(random.unit() * 400, () => target.restart());
  }

  #crashSource(random: Random): void {
    const source = this.#source;
    if (!source.up) return;
    source.crash();
    this.counters.add("source crashed");
    this.clock.after(random.unit() * 400, () => source.restart());
  }

  #calm(): void {
    this.#storm = false;
    this.weather.cutChance = 0;
    this.weather.killChance = 0;
  }

  /** Lets time pass until nothing lacks, or a guarantee is broken; that nothing comes of it is breaking one. */
  async #until(lack: () => string | null, limitMs: number): Promise<void> {
    const ended = () => this.#oracle.violations.length > 0 || lack() === null;
    if (await this.clock.run(ended, limitMs)) return;
    this.#oracle.violated(`after ${PATIENCE_MS} ms without faults: ${lack()}`);
  }

  #whatLacks(): string | null {
    for (const { name, target } of this.#syncs) {
      const { progress, tables } = target.current;
      if (progress.tables.length < TABLES.length) return `${name} has not begun`;
      const copying = progress.tables.find(({ state }) => state !== "live");
      if (copying !== undefined) return `${name}: ${copying.table} is ${copying.state}`;
      for (const table of TABLES) {
        const wrong = difference(this.#source.tables.get(table), tables.get(table));
        const at = `progress: batch ${progress.position.batch}`;
        if (wrong !== null) return `${name}: ${table} ${wrong} (${at})`;
      }
    }
    return null;
  }

  /** G7: what all have confirmed is purged. */
  #whatIsLeft(): string | null {
    const { length } = this.#source.log;
    return length === 0 ? null : `${length} rows are left in the log`;
  }

  #onPut(key: string, value: unknown): void {
    const sync = this.#syncs.find(({ name }) => key === keys.progress(name));
    if (sync === undefined || value === null) return;
    this.#oracle.noticed((value as Notice).position, sync.target.durable.progress.position);
  }

  #onPurge(upTo: number): void {
    for (const { target } of this.#syncs) {
      const { timeline, position } = target.durable.progress;
      // A target that has not joined, or has lost that it had, begins with what is there then.
      if (timeline !== "") this.#oracle.purged(upTo, position);
    }
  }

  async #noticeEarly(sync: string, next: Progress, process: SimulatedProcess): Promise<void> {
    const { timeline, position } = next;
    const at = new Date().toISOString();
    const notice: Notice = {
      ...{ sync, source: SOURCE, timeline, position, at, lagMs: 0, tablesPending: 0 },
    };
    await new SimulatedQueue(process, this.#queue).documents.put(keys.progress(sync), notice);
  }

  #purgeUnasked(batch: number): void {
    this.#onPurge(batch);
    this.#source.purge(batch);
  }
}
