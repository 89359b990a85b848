import { TidemarkError } from "../../../src/core/errors.ts";
import { comparePositions, START } from "../../../src/core/position.ts";
import type {
  ApplierSession,
  BoundTable,
  Progress,
  Target,
  TargetPlan,
  TargetTransaction,
} from "../../../src/core/target.ts";
import type { Row } from "../../../src/core/value.ts";
import type { Tables } from "./oracle.ts";
import { type Session, type SimulatedProcess, SimulatedServer } from "./process.ts";
import { TABLES } from "./source-database.ts";

/** What stands in the target at one moment. */
export interface TargetState {
  readonly tables: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly progress: Progress;
}

export interface TargetHooks {
  readonly onCommit: (before: Progress, next: Progress, tables: Tables) => void;
  /** Planted: flush() tells that all is durable without making it so. */
  readonly flushesNothing?: boolean;
  /** Planted: rows are committed first, progress after. */
  readonly splitsCommit?: boolean;
  /** Planted: called with what is about to be committed. */
  readonly beforeCommit?: (next: Progress, process: SimulatedProcess) => Promise<void>;
}

/** What a disk takes at most for a sync. */
const SYNC_MS = 30;
const NO_PROGRESS: Progress = { timeline: "", position: START, hash: "", tables: [] };

/** A target that shows a commit before it is durable, and may lose those that are not yet when it crashes. */
export class TargetServer extends SimulatedServer {
  readonly hooks: TargetHooks;
  current: TargetState = {
    tables: new Map(TABLES.map((name) => [name, new Map()])),
    progress: NO_PROGRESS,
  };
  durable: TargetState = this.current;
  /** Committed since, oldest first. */
  readonly #volatile: TargetState[] = [];
  holder: object | null = null;
  /** The transaction that has locked the progress row. */
  locked: object | null = null;

  constructor(hooks: TargetHooks) {
    super();
    this.hooks = hooks;
  }

  commit(state: TargetState): void {
    this.current = state;
    this.#volatile.push(state);
  }

  /** Makes durable what had been committed when it was `current`. */
  persist(state: TargetState): void {
    const at = this.#volatile.indexOf(state);
    if (at < 0) return;
    this.durable = state;
    this.#volatile.splice(0, at + 1);
  }

  /** Of what is not durable the newest part is lost. `kept`: from 0, nothing, to 1, all. */
  loseVolatile(kept: number): number {
    const count = Math.round(this.#volatile.length * kept);
    const lost = this.#volatile.length - count;
    this.current = this.#volatile[count - 1] ?? this.durable;
    this.durable = this.current;
    this.#volatile.length = 0;
    return lost;
  }
}

/** An applier's connection. */
export class SimulatedTarget implements Target {
  readonly parked = null;
  readonly #server: TargetServer;
  readonly #session: Session;

  constructor(process: SimulatedProcess, server: TargetServer) {
    this.#server = server;
    this.#session = process.connect(server);
  }

  async plan(): Promise<TargetPlan> {
    return { statements: [], mappings: [], notes: [], tables: [] };
  }

  async prepare(): Promise<void> {}

  async diagnose(): Promise<[]> {
    return [];
  }

  openApplier(): Promise<ApplierSession | null> {
    const server = this.#server;
    const session = this.#session;
    return session.call(() => {
      if (server.holder !== null) return null;
      const lease = {};
      server.holder = lease;
      session.onLost(() => {
        if (server.holder === lease) server.holder = null;
      });
      return new SimulatedApplierSession(session, server);
    });
  }

  async close(): Promise<void> {
    this.#session.end();
  }
}

class SimulatedApplierSession implements ApplierSession {
  readonly #session: Session;
  readonly #server: TargetServer;
  #transaction: SimulatedTransaction | null = null;

  constructor(session: Session, server: TargetServer) {
    this.#session = session;
    this.#server = server;
  }

  load(): Promise<Progress> {
    return this.#session.call(() => this.#server.current.progress);
  }

  async begin(expected: Progress): Promise<TargetTransaction> {
    const server = this.#server;
    const transaction = new SimulatedTransaction(this.#session, server);
    const locked = () => {
      if (server.locked !== null) return false;
      server.locked = transaction;
      this.#session.onLost(() => transaction.release());
      return true;
    };
    while (!(await this.#session.call(locked))) await this.#session.process.world.clock.sleep(2);
    await this.#session.call(() => {
      const { timeline, position } = server.current.progress;
      const same =
        timeline === expected.timeline && comparePositions(position, expected.position) === 0;
      if (same) return transaction.start();
      transaction.release();
      throw new TidemarkError("TM-APPLY-FENCED", "Progress is not where it was.");
    });
    this.#transaction = transaction;
    return transaction;
  }

  async flush(): Promise<void> {
    const server = this.#server;
    const state = await this.#session.call(() => server.current);
    if (server.hooks.flushesNothing) return;
    const { clock, random } = this.#session.process.world;
    await clock.sleep(random.unit() * SYNC_MS);
    await this.#session.call(() => server.persist(state));
  }

  emptyOf(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    const { current } = this.#server;
    return this.#session.call(() =>
      tables.filter(({ name }) => (current.tables.get(name.name)?.size ?? 0) === 0),
    );
  }

  countRows(table: BoundTable, limit: number): Promise<number> {
    return this.#session.call(() => Math.min(this.#transaction?.count(table) ?? 0, limit));
  }

  async close(): Promise<void> {
    this.#session.end();
  }
}

class SimulatedTransaction implements TargetTransaction {
  readonly enforcing = false;
  readonly finish?: NonNullable<TargetTransaction["finish"]>;
  readonly #session: Session;
  readonly #server: TargetServer;
  #tables = new Map<string, Map<string, string>>();

  constructor(session: Session, server: TargetServer) {
    this.#session = session;
    this.#server = server;
    const { random } = session.process.world;
    // Some databases can commit a group at once, others cannot.
    if (random.chance(0.5)) {
      this.finish = async (work, next) => {
        await work();
        await this.commit(next);
      };
    }
  }

  start(): void {
    for (const [name, rows] of this.#server.current.tables) this.#tables.set(name, new Map(rows));
  }

  release(): void {
    if (this.#server.locked === this) this.#server.locked = null;
  }

  count(table: BoundTable): number {
    return this.#rows(table).size;
  }

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  remove(table: BoundTable, keys: readonly Row[]): Promise<void> {
    return this.#change(() => {
      for (const [key] of keys) this.#rows(table).delete(String(key));
    });
  }

  put(table: BoundTable, rows: readonly Row[]): Promise<void> {
    return this.#change(() => {
      for (const [key, value] of rows) this.#rows(table).set(String(key), String(value));
    });
  }

  clear(table: BoundTable): Promise<void> {
    return this.#change(() => this.#rows(table).clear());
  }

  async verify(): Promise<void> {}

  async commit(next: Progress): Promise<void> {
    const server = this.#server;
    const { hooks } = server;
    await hooks.beforeCommit?.(next, this.#session.process);
    if (hooks.splitsCommit) await this.#session.call(() => this.#store(server.current.progress));
    await this.#session.call(() => {
      this.#store(next);
      this.release();
    });
  }

  async rollback(): Promise<void> {
    if (this.#session.open) await this.#session.call(() => this.release());
  }

  #store(next: Progress): void {
    const { progress } = this.#server.current;
    const tables = new Map([...this.#tables].map(([name, rows]) => [name, new Map(rows)]));
    this.#server.commit({ tables, progress: next });
    this.#server.hooks.onCommit(progress, next, tables);
  }

  #change(effect: () => void): Promise<void> {
    const { random, counters } = this.#session.process.world;
    return this.#session.call(() => {
      if (random.chance(0.003)) {
        counters.add("deadlock");
        throw new TidemarkError("TM-APPLY-RETRY", "Deadlock.");
      }
      effect();
    });
  }

  #rows(table: BoundTable): Map<string, string> {
    return this.#tables.get(table.name.name) as Map<string, string>;
  }
}
