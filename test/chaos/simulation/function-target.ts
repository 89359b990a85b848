import { DeliverTarget } from "../../../src/applier/deliver-target.ts";
import type { SyncTable } from "../../../src/applier/mapping.ts";
import type { Delivery, RowChange, RowObject } from "../../../src/core/definition.ts";
import { keys } from "../../../src/core/documents.ts";
import { comparePositions, type Position, START } from "../../../src/core/position.ts";
import type { ApplierSession, Progress, Target } from "../../../src/core/target.ts";
import { type SimulatedProcess, SimulatedServer } from "./process.ts";
import type { QueueServer, SimulatedQueue } from "./queue-server.ts";
import { addTo, NOBODY, type Shapes, type Table, textOf } from "./shapes.ts";
import { EMPTY, type TargetSite, type TargetState } from "./target-server.ts";

export interface FunctionHooks {
  /** Called with each call, and where progress stands then; null where the queue has none. */
  readonly onDelivery: (delivery: Delivery, stored: Progress | null) => void;
  /** Called when what comes now may have come before. */
  readonly onRepeat: () => void;
  /** Planted: nobody waits for what the function does. */
  readonly isNotAwaited?: boolean;
  /** Planted: a copy does not begin with a clear. */
  readonly copiesOver?: boolean;
}

export interface FunctionParts {
  readonly sync: string;
  readonly shapes: Shapes;
  readonly queue: QueueServer;
  /** So many changes it is handed at a time. */
  readonly atOnce: number | undefined;
  /** The newest batch of the source. */
  readonly newest: () => number;
  readonly hooks: FunctionHooks;
}

/**
 * A function as target, and what it keeps of what it is handed, at a server that may be away. It may be handed the same
 * again: then it holds, for a while, some of what is still to be told.
 */
export class FunctionServer extends SimulatedServer implements TargetSite {
  current: TargetState = EMPTY;
  readonly #parts: FunctionParts;
  /** It was handed changes up to there, before the session that calls it now. */
  #ahead: Position = START;
  /** And up to there by this one, which has not stored that yet. */
  #handed = START;
  /** Whoever called last. */
  #caller: Target | null = null;
  /** Tables without a key that may have been handed a row twice. */
  readonly #doubtful = new Set<string>();

  constructor(parts: FunctionParts) {
    super();
    this.#parts = parts;
  }

  /** What the queue cannot lose of its progress, unless it loses everything. */
  get durable(): TargetState {
    return { ...this.current, progress: this.#stored(this.#parts.queue.durable) ?? EMPTY.progress };
  }

  /** Whoever calls it goes by what it has told, whatever the queue has lost since. */
  get told(): Progress {
    return this.current.progress;
  }

  /** Progress is about to be stored. Gives what stood, and whether the rows are as they are to be then. */
  store(next: Progress): { readonly before: Progress; readonly isSettled: boolean } {
    const before = this.#stored(this.#parts.queue.state) ?? EMPTY.progress;
    this.current = { ...this.current, progress: next };
    this.#handed = START;
    const isSettled = comparePositions(next.position, this.#ahead) >= 0;
    if (isSettled) this.#ahead = next.position;
    return { before, isSettled };
  }

  bind(table: SyncTable): SyncTable {
    return { ...table, bound: { ...table.bound, parents: [], cascades: false } };
  }

  isCertain(table: string): boolean {
    return !this.#doubtful.has(table);
  }

  /** What an operator does before a copy anew: progress is forgotten; what was handed over stands. */
  empty(): void {
    this.current = { ...this.current, progress: EMPTY.progress };
    this.#parts.queue.forget(keys.delivered(this.#parts.sync));
  }

  /** What was handed over is kept. */
  loseVolatile(): number {
    return 0;
  }

  open(process: SimulatedProcess, queue: SimulatedQueue): Target {
    const { atOnce, hooks } = this.#parts;
    const deliver = async (delivery: Delivery) => {
      const called = this.#call(process, delivery, target);
      if (hooks.isNotAwaited) called.catch(() => {});
      else await called;
    };
    const target: Target = new DeliverTarget(deliver, queue.documents, atOnce);
    if (process.alive) this.#begin();
    if (!hooks.copiesOver) return target;
    const open = target.openApplier.bind(target);
    return Object.assign(target, {
      openApplier: async (...args: Parameters<typeof open>) => {
        const session = await open(...args);
        return session === null ? null : copyingOver(session);
      },
    });
  }

  /** Another session is to call it. */
  #begin(): void {
    this.#ahead = later(this.#ahead, this.#handed);
    this.#handed = START;
  }

  /** The function: it may fail after a part of the changes. */
  async #call(process: SimulatedProcess, delivery: Delivery, caller: Target): Promise<void> {
    const session = process.connect(this);
    const { changes } = delivery;
    const half = process.world.random.chance(0.3) ? Math.floor(changes.length / 2) : 0;
    try {
      await session.call(() => {
        this.#note(delivery, caller);
        this.#take(changes.slice(0, half));
        if (half === 0) this.#take(changes);
      });
      if (half > 0) await session.call(() => this.#take(changes.slice(half)));
    } finally {
      session.end();
    }
  }

  #note(delivery: Delivery, caller: Target): void {
    const { hooks, queue, shapes, newest } = this.#parts;
    const stored = this.#stored(queue.state);
    hooks.onDelivery(delivery, stored);
    if (caller !== this.#caller) {
      this.#caller = caller;
      if (comparePositions(stored?.position ?? START, this.#ahead) < 0) {
        hooks.onRepeat();
        const tables = Object.keys(shapes) as Table[];
        for (const table of tables) if (!shapes[table].hasKey) this.#doubtful.add(table);
      }
    }
    // Of more that is to come nothing tells how far it will go.
    const all = { batch: newest(), chunk: Number.MAX_SAFE_INTEGER };
    this.#handed = later(this.#handed, delivery.complete ? delivery.position : all);
  }

  #take(changes: readonly RowChange[]): void {
    const tables = new Map<string, Map<string, string>>();
    for (const change of changes) {
      const { table } = change;
      const rows = tables.get(table) ?? new Map(this.current.tables.get(table));
      tables.set(table, rows);
      this.#change(rows, change);
    }
    this.current = { ...this.current, tables: new Map([...this.current.tables, ...tables]) };
  }

  #change(rows: Map<string, string>, { table, op, key, row }: RowChange): void {
    if (op === "clear") {
      rows.clear();
      this.#doubtful.delete(table);
      return;
    }
    const { hasKey } = this.#parts.shapes[table as Table];
    const cells = row ?? key ?? {};
    if (!hasKey) {
      const left = addTo(rows.get(textOfRow(cells)), op === "put" ? 1 : -1);
      if (left === null) rows.delete(textOfRow(cells));
      else rows.set(textOfRow(cells), left);
    } else if (op === "remove") rows.delete(String(key?.id));
    else rows.set(String(key?.id), textOfRow(cells));
  }

  #stored({ documents }: QueueServer["state"]): Progress | null {
    return (documents.get(keys.delivered(this.#parts.sync))?.value as Progress | undefined) ?? null;
  }
}

function textOfRow({ value, more }: RowObject): string {
  return textOf(value ?? NOBODY, more ?? undefined);
}

function later(a: Position, b: Position): Position {
  return comparePositions(a, b) < 0 ? b : a;
}

function copyingOver(session: ApplierSession): ApplierSession {
  return {
    load: () => session.load(),
    loadPlace: () => session.loadPlace(),
    begin: (...args) => session.begin(...args),
    flush: () => session.flush(),
    emptyOf: (tables) => session.emptyOf(tables),
    others: () => session.others(),
    isAtWork: (sync) => session.isAtWork(sync),
    forget: (copies) => session.forget(copies),
    countRows: (...args) => session.countRows(...args),
    close: () => session.close(),
  };
}
