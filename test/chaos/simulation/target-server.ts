import { isTidemarkError, TidemarkError } from "../../../src/core/errors.ts";
import { type ParkedRows, parkedEntry } from "../../../src/core/parked.ts";
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
import { addTo, PARKED, type Shapes, TABLES, type Table } from "./shapes.ts";

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
  /** Planted: a row that is gone takes those equal to it along. */
  readonly removesAllEqual?: boolean;
  /** Planted: a row that was set aside stays so, whatever becomes of it. */
  readonly keepsParked?: boolean;
  /** Planted: a row that breaks a unique key is left out. */
  readonly passesByCollisions?: boolean;
  /** Planted: called with what is about to be committed. */
  readonly beforeCommit?: (next: Progress, process: SimulatedProcess) => Promise<void>;
}

/** What a disk takes at most for a sync. */
const SYNC_MS = 30;
const EMPTY: TargetState = {
  tables: new Map([...TABLES, PARKED].map((name) => [name, new Map()])),
  progress: { timeline: "", position: START, hash: "", tables: [] },
};

/** A target that shows a commit before it is durable, and may lose those that are not yet when it crashes. */
export class TargetServer extends SimulatedServer {
  readonly hooks: TargetHooks;
  readonly shapes: Shapes;
  current: TargetState = EMPTY;
  durable: TargetState = this.current;
  /** Committed since, oldest first. */
  readonly #volatile: TargetState[] = [];
  holder: object | null = null;
  /** The transaction that has locked the progress row. */
  locked: object | null = null;

  constructor(shapes: Shapes, hooks: TargetHooks) {
    super();
    this.shapes = shapes;
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

  /** What an operator does before a copy anew: tables emptied, progress forgotten. */
  empty(): void {
    this.current = EMPTY;
    this.durable = EMPTY;
    this.#volatile.length = 0;
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
  readonly parked: ParkedRows;
  readonly #server: TargetServer;
  readonly #session: Session;

  constructor(process: SimulatedProcess, server: TargetServer) {
    this.#server = server;
    this.#session = process.connect(server);
    const all = () => [...(server.current.tables.get(PARKED)?.values() ?? [])];
    const cells = (row: string) => JSON.parse(row) as readonly unknown[];
    this.parked = {
      table: { schema: null, name: PARKED },
      list: () => this.#session.call(() => all().map((row) => parkedEntry(cells(row)))),
      read: async () => null,
    };
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
        try {
          await work();
        } catch (error) {
          if (isTidemarkError(error, "TM-APPLY-CONSTRAINT")) await this.rollback();
          throw error;
        }
        await this.commit(next);
      };
    }
  }

  start(): void {
    this.#tables = copyOf(this.#server.current.tables);
  }

  release(): void {
    if (this.#server.locked === this) this.#server.locked = null;
  }

  count(table: BoundTable): number {
    return this.#rows(table).size;
  }

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    const before = copyOf(this.#tables);
    try {
      return await work();
    } catch (error) {
      if (isTidemarkError(error, "TM-APPLY-CONSTRAINT")) this.#tables = before;
      throw error;
    }
  }

  remove(table: BoundTable, keys: readonly Row[]): Promise<void> {
    const { removesAllEqual, keepsParked } = this.#server.hooks;
    const hasKey = this.#shapeOf(table)?.hasKey ?? true;
    const isParked = table.name.name === PARKED;
    return this.#change(() => {
      if (isParked && keepsParked) return;
      const rows = this.#rows(table);
      for (const key of keys.map((columns) => String(columns[isParked ? 1 : 0]))) {
        const left = hasKey || removesAllEqual ? null : addTo(rows.get(key), -1);
        if (left === null) rows.delete(key);
        else rows.set(key, left);
      }
    });
  }

  put(table: BoundTable, rows: readonly Row[]): Promise<void> {
    const shape = this.#shapeOf(table);
    return this.#change(() => {
      const standing = this.#rows(table);
      for (const row of rows) {
        const [key, value] = [String(row[0]), String(row[1])];
        if (shape === undefined) this.#park(standing, row);
        else if (!shape.hasKey) standing.set(key, addTo(standing.get(key), 1) ?? "");
        else if (!shape.isUnique || !this.#collides(table, key, value)) standing.set(key, value);
      }
    });
  }

  #park(standing: Map<string, string>, row: Row): void {
    this.#session.process.world.counters.add("row set aside");
    standing.set(String(row[1]), JSON.stringify(row));
  }

  /** Throws TM-APPLY-CONSTRAINT when another row holds a value of which there can be one. */
  #collides(table: BoundTable, key: string, value: string): boolean {
    const collides = [...this.#rows(table)].some((row) => row[1] === value && row[0] !== key);
    if (!collides || this.#server.hooks.passesByCollisions) return collides;
    this.#session.process.world.counters.add("unique value met");
    throw new TidemarkError("TM-APPLY-CONSTRAINT", `Another row of ${table.name.name} holds it.`);
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
    const tables = copyOf(this.#tables);
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

  /** Undefined: not one of the application's. */
  #shapeOf({ name }: BoundTable): Shapes[Table] | undefined {
    return this.#server.shapes[name.name as Table];
  }

  #rows(table: BoundTable): Map<string, string> {
    return this.#tables.get(table.name.name) as Map<string, string>;
  }
}

function copyOf(tables: TargetState["tables"]): Map<string, Map<string, string>> {
  return new Map([...tables].map(([name, rows]) => [name, new Map(rows)]));
}
