import type { SyncTable } from "../../../src/applier/mapping.ts";
import { isTidemarkError, TidemarkError } from "../../../src/core/errors.ts";
import { type ParkedRows, parkedEntry, parkedRow } from "../../../src/core/parked.ts";
import { comparePositions, START } from "../../../src/core/position.ts";
import { decodeLines } from "../../../src/core/row-lines.ts";
import type {
  ApplierSession,
  BeginOptions,
  BoundTable,
  LinesWriter,
  Place,
  Progress,
  Target,
  TargetPlan,
  TargetTransaction,
} from "../../../src/core/target.ts";
import type { Row } from "../../../src/core/value.ts";
import { type Session, type SimulatedProcess, SimulatedServer } from "./process.ts";
import type { SimulatedQueue } from "./queue-server.ts";
import {
  addTo,
  CHILD,
  NOBODY,
  PARENT,
  PARKED,
  referredTo,
  type Shapes,
  TABLES,
  type Table,
  textOf,
} from "./shapes.ts";

/** What stands in the target at one moment. */
export interface TargetState {
  readonly tables: ReadonlyMap<string, ReadonlyMap<string, string>>;
  readonly progress: Progress;
}

export interface TargetHooks {
  readonly onCommit: (before: TargetState, next: TargetState) => void;
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

/** Where a sync ends. */
export interface TargetSite extends SimulatedServer {
  readonly current: TargetState;
  /** What it has after it has crashed. */
  readonly durable: TargetState;
  /** What may be told of it. */
  readonly told: Progress;
  /** Can it be said which rows of the table it is to hold, once it is in step? */
  isCertain(table: string): boolean;
  /** What an operator does before a copy anew. */
  empty(): void;
  /** Of what is not durable the newest part is lost. `kept`: from 0, nothing, to 1, all. Gives how much is lost. */
  loseVolatile(kept: number): number;
  /** The table as an applier is to write it there. */
  bind(table: SyncTable): SyncTable;
  open(process: SimulatedProcess, queue: SimulatedQueue): Target;
}

/** What a disk takes at most for a sync. */
const SYNC_MS = 30;
export const EMPTY: TargetState = {
  tables: new Map([...TABLES, PARKED].map((name) => [name, new Map()])),
  progress: { timeline: "", position: START, hash: "", tables: [] },
};

/** A target that shows a commit before it is durable, and may lose those that are not yet when it crashes. */
export class TargetServer extends SimulatedServer implements TargetSite {
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

  get told(): Progress {
    return this.durable.progress;
  }

  isCertain(): boolean {
    return true;
  }

  bind(table: SyncTable): SyncTable {
    return table;
  }

  open(process: SimulatedProcess): Target {
    return new SimulatedTarget(process, this);
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

  /** Tables are emptied, progress is forgotten. */
  empty(): void {
    this.current = EMPTY;
    this.durable = EMPTY;
    this.#volatile.length = 0;
  }

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
class SimulatedTarget implements Target {
  readonly parked: ParkedRows;
  readonly #server: TargetServer;
  readonly #session: Session;

  constructor(process: SimulatedProcess, server: TargetServer) {
    this.#server = server;
    this.#session = process.connect(server);
    const rows = () => server.current.tables.get(PARKED) ?? new Map<string, string>();
    const cells = (row: string) => JSON.parse(row) as readonly unknown[];
    this.parked = {
      table: { schema: null, name: PARKED },
      list: () =>
        this.#session.call(() => [...rows().values()].map((row) => parkedEntry(cells(row)))),
      read: (_sync, id) =>
        this.#session.call(() => {
          const row = rows().get(id);
          return row === undefined ? null : parkedRow(cells(row));
        }),
    };
  }

  async identity(): Promise<null> {
    return null;
  }

  async plan(): Promise<TargetPlan> {
    return { statements: [], mappings: [], notes: [], tables: [] };
  }

  async prepare(): Promise<void> {}

  async diagnose(): Promise<[]> {
    return [];
  }

  copiesOf(): Promise<Progress["tables"]> {
    return this.#session.call(() => this.#server.current.progress.tables);
  }

  filled(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    const { current } = this.#server;
    return this.#session.call(() =>
      tables.filter(({ name }) => (current.tables.get(name.name)?.size ?? 0) > 0),
    );
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

  /** Asked for by some that then cannot take them: of a transaction that opens no lines. */
  takesBinary(): boolean {
    return this.#session.process.world.random.chance(0.5);
  }

  loadPlace(): Promise<Place> {
    return this.load();
  }

  async begin(expected: Progress, options: BeginOptions = {}): Promise<TargetTransaction> {
    const server = this.#server;
    const transaction = new SimulatedTransaction(this.#session, server, options);
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

  /** Each sync has a target of its own. */
  others(): Promise<[]> {
    return this.#session.call(() => []);
  }

  isAtWork(): Promise<boolean> {
    return this.#session.call(() => false);
  }

  forget(): Promise<void> {
    return this.#session.call(() => {});
  }

  countRows(table: BoundTable, limit: number): Promise<number> {
    return this.#session.call(() => Math.min(this.#transaction?.count(table) ?? 0, limit));
  }

  async close(): Promise<void> {
    this.#session.end();
  }
}

class SimulatedTransaction implements TargetTransaction {
  readonly enforcing: boolean;
  readonly finish?: NonNullable<TargetTransaction["finish"]>;
  readonly openLines?: NonNullable<TargetTransaction["openLines"]>;
  readonly attemptBehind?: NonNullable<TargetTransaction["attemptBehind"]>;
  readonly #session: Session;
  readonly #server: TargetServer;
  #tables = new Map<string, Map<string, string>>();
  /** The last attempt behind another. */
  #behind: Promise<unknown> = Promise.resolve();
  #hasFailed = false;

  constructor(session: Session, server: TargetServer, { relaxed, postponed }: BeginOptions) {
    this.#session = session;
    this.#server = server;
    this.enforcing = relaxed !== true && postponed !== true;
    const { random, counters } = session.process.world;
    if (postponed) counters.add("foreign keys put off");
    // Some take rows as they came, others do not.
    if (random.chance(0.5)) {
      this.openLines = (table) => this.#openLines(table);
      this.attemptBehind = (work) => this.#attemptBehind(work);
    }
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

  async #attemptBehind(work: () => Promise<void>): Promise<boolean> {
    const { counters } = this.#session.process.world;
    const done = this.#behind.then(async () => {
      if (this.#hasFailed) counters.add("passed over behind a failure");
      else await this.attempt(work);
      return !this.#hasFailed;
    });
    this.#behind = done.catch(() => {});
    return done;
  }

  async attempt<T>(work: () => Promise<T>): Promise<T> {
    const before = copyOf(this.#tables);
    try {
      return await work();
    } catch (error) {
      this.#hasFailed = true;
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
      const gone = keys.map((columns) => String(columns[isParked ? 1 : 0]));
      this.#letGo(table, new Set(gone));
      for (const key of gone) {
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
        const key = String(row[0]);
        const more = row.length > 2 ? String(row[2]) : undefined;
        const value = textOf(row[1] === null ? NOBODY : String(row[1]), more);
        if (shape === undefined) this.#park(standing, row);
        else if (this.enforcing && this.#isOrphan(table, value)) throw this.#broken(table);
        else if (!shape.hasKey) standing.set(key, addTo(standing.get(key), 1) ?? "");
        else if (!shape.isUnique || !this.#collides(table, key, value)) {
          const before = standing.get(key);
          standing.set(key, value);
          this.#letFollow(table, before, value);
        }
      }
    });
  }

  /** Rows as lines: none may stand already, and it is told at the end. */
  async #openLines(table: BoundTable): Promise<LinesWriter> {
    const { counters } = this.#session.process.world;
    const rows: Row[] = [];
    return {
      write: (lines) =>
        this.#session.call(() => {
          if (lines.binary) counters.add("rows taken in binary");
          for (const { row } of decodeLines({ ...lines, binary: false })) rows.push(row as Row);
        }),
      close: () =>
        this.attempt(async () => {
          counters.add("rows taken as lines");
          const standing = this.#shapeOf(table)?.hasKey === true ? this.#rows(table) : new Map();
          if (rows.some(([key]) => standing.has(String(key)))) {
            counters.add("row of a run stood");
            throw new TidemarkError("TM-APPLY-CONSTRAINT", "A row stands already.");
          }
          await this.put(table, rows);
        }),
    };
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
    return this.#change(() => {
      const rows = this.#rows(table);
      this.#letGo(table, rows);
      rows.clear();
    });
  }

  verify(tables: readonly BoundTable[]): Promise<void> {
    return this.#session.call(() => {
      const child = tables.find(({ name }) => name.name === CHILD || name.name === PARENT);
      if (child === undefined || this.#server.shapes[CHILD].foreignKey === null) return;
      for (const parent of this.#tables.get(CHILD)?.values() ?? []) {
        if (parent !== NOBODY && !this.#isThere(parent)) throw this.#broken(child);
      }
    });
  }

  /** Rows go: those that refer to them forbid it, or go along, or are left without. */
  #letGo(table: BoundTable, gone: { has(key: string): boolean }): void {
    const { foreignKey } = this.#server.shapes[CHILD];
    if (!this.enforcing || foreignKey === null || table.name.name !== PARENT) return;
    const children = this.#tables.get(CHILD) as Map<string, string>;
    const parents = [...this.#rows(table)].filter(([key]) => gone.has(key));
    const without = new Set(parents.map((row) => referredTo(foreignKey, ...row)));
    for (const [child, parent] of [...children]) {
      if (parent === NOBODY || !without.has(parent)) continue;
      if (foreignKey.onDelete === "restrict") throw this.#broken(table);
      this.#session.process.world.counters.add("deletion carried on");
      if (foreignKey.onDelete === "cascade") children.delete(child);
      else children.set(child, NOBODY);
    }
  }

  #isOrphan({ name }: BoundTable, parent: string): boolean {
    const { foreignKey } = this.#server.shapes[CHILD];
    if (foreignKey === null || name.name !== CHILD || parent === NOBODY) return false;
    return !this.#isThere(parent);
  }

  /** Does it stand, by what children hold of it? */
  #isThere(parent: string): boolean {
    const parents = this.#tables.get(PARENT) as Map<string, string>;
    if (this.#server.shapes[CHILD].foreignKey?.followsValues !== true) return parents.has(parent);
    return [...parents.values()].includes(parent);
  }

  /** A value was written over another: those that refer to it follow. */
  #letFollow({ name }: BoundTable, before: string | undefined, value: string): void {
    const { foreignKey } = this.#server.shapes[CHILD];
    if (!this.enforcing || name.name !== PARENT || foreignKey?.followsValues !== true) return;
    const children = this.#tables.get(CHILD) as Map<string, string>;
    for (const [child, parent] of children) {
      if (parent !== before || before === value) continue;
      this.#session.process.world.counters.add("change followed");
      children.set(child, value);
    }
  }

  #broken({ name }: BoundTable): TidemarkError {
    this.#session.process.world.counters.add("foreign key met");
    return new TidemarkError("TM-APPLY-CONSTRAINT", `A foreign key of ${name.name} is broken.`);
  }

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
    const { hooks, current } = this.#server;
    const state = { tables: copyOf(this.#tables), progress: next };
    this.#server.commit(state);
    hooks.onCommit(current, state);
  }

  #change(effect: () => void): Promise<void> {
    const { random, weather, counters } = this.#session.process.world;
    return this.#session.call(() => {
      if (random.chance(weather.deadlockChance)) {
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
