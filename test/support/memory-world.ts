import { Applier } from "../../src/applier/applier.ts";
import type { ApplierOptions } from "../../src/applier/options.ts";
import { keys, type Notice } from "../../src/core/documents.ts";
import { timelineHash } from "../../src/core/hash.ts";
import { type Logger, silentLogger } from "../../src/core/log.ts";
import { Relay } from "../../src/relay/relay.ts";
import { MemoryQueue } from "./memory-queue.ts";
import { LAYOUT, MemorySource } from "./memory-source.ts";
import { BOUND, MemoryTarget } from "./memory-target.ts";

export const SYNC = "a->b";
const FINGERPRINT = "all";
const PRINT = { fingerprint: FINGERPRINT, rules: "" };
const STEP_MS = 10;

/** The engine between a source, a queue and a target in memory. */
export class MemoryWorld {
  readonly source = new MemorySource();
  readonly target = new MemoryTarget();
  readonly queue: MemoryQueue;
  maxLogBytes = 1_000_000;
  keptMs = 0;
  logger: Logger = silentLogger;
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #ended = new Map<Relay | Applier, Promise<void>>();

  readonly #others: readonly string[];

  /** `others`: syncs of the same source whose appliers a test plays itself. */
  constructor(maxMessages?: number, others: readonly string[] = []) {
    this.#others = others;
    this.queue = new MemoryQueue(maxMessages);
  }

  /** `database`: where its config says that the source is. */
  startRelay(database: string | null = null): Relay {
    const column = { ...(LAYOUT.columns[0] as (typeof LAYOUT.columns)[number]), identity: false };
    const schema = { name: LAYOUT.table, columns: [column], key: ["id"] };
    const relay = new Relay({
      source: "a",
      openSource: async () => this.source,
      database,
      queue: this.queue,
      tables: [{ schema, columns: ["id"], filters: [], takesNewColumns: true }],
      syncs: new Map([SYNC, ...this.#others].map((sync) => [sync, PRINT])),
      maxLogBytes: this.maxLogBytes,
      keptMs: this.keptMs,
      maxStreamBytes: 1_000_000,
      logger: this.logger,
    });
    return this.#run(relay);
  }

  startApplier(
    knows: Pick<ApplierOptions, "database" | "timelineOfSource" | "isApart"> = {},
    onReady = () => {},
  ): Applier {
    const table = {
      source: "t",
      rule: { table: "t" },
      columns: ["id"],
      types: [LAYOUT.columns[0]?.nativeType ?? ""],
      key: ["id"],
      bound: BOUND,
      fingerprint: "f",
    };
    const applier = new Applier({
      sync: SYNC,
      from: "a",
      to: "b",
      syncs: new Set(),
      ...knows,
      openTarget: async () => this.target,
      queue: this.queue,
      tables: [table],
      fingerprint: FINGERPRINT,
      checkFit: async () => {},
      logger: silentLogger,
    });
    return this.#run(applier, onReady);
  }

  /** One whose target has what its source had. */
  static async running(): Promise<MemoryWorld> {
    const world = new MemoryWorld();
    world.fill(1);
    world.startRelay();
    world.startApplier();
    await world.synced();
    return world;
  }

  fill(rows: number): void {
    for (let i = 0; i < rows; i++) this.source.insert(`r${i}-${Math.random()}`);
  }

  /** Plays the applier of a sync that joined at batch 0 and has confirmed so many. */
  async confirm(
    batch: number,
    {
      tablesPending = 0,
      sync = SYNC,
      timeline = "tl",
      hash = this.source.headers[batch - 1]?.hash ?? timelineHash("tl"),
    } = {},
  ): Promise<void> {
    if (!this.source.confirmed.has(sync)) this.source.confirmed.set(sync, 0);
    await this.queue.documents.put(keys.progress(sync), {
      sync,
      source: "a",
      timeline,
      position: { batch, chunk: 0 },
      hash,
      at: "",
      lagMs: 0,
      tablesPending,
      fingerprint: "",
    });
  }

  async notice(): Promise<Notice | null> {
    return (await this.queue.documents.get(keys.progress(SYNC))) as Notice | null;
  }

  /** Resolves when it holds; the test's own time limit ends it otherwise. */
  async until(holds: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }

  /** Every row of the source stands in the target, and the copy is complete. */
  synced(): Promise<void> {
    const { source, target } = this;
    return this.until(
      () =>
        source.pending.length === 0 &&
        target.progress.tables.every(({ state }) => state === "live") &&
        target.progress.position.batch === source.headers.length &&
        source.rows.every((row) => target.rows.has(row)),
    );
  }

  /** As the worker's run(). */
  ended(worker: Relay | Applier): Promise<void> {
    return this.#ended.get(worker) ?? Promise.resolve();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#stops.map((stop) => stop()));
  }

  #run<T extends Relay | Applier>(worker: T, onReady = () => {}): T {
    const run = worker.run(onReady);
    this.#ended.set(worker, run);
    const ended = run.catch(() => {});
    this.#stops.push(async () => {
      worker.stop();
      await ended;
    });
    return worker;
  }
}
