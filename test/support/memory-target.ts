import { TidemarkError } from "../../src/core/errors.ts";
import { START } from "../../src/core/position.ts";
import type {
  ApplierSession,
  BoundTable,
  OthersTable,
  Progress,
  Target,
  TargetPlan,
  TargetTransaction,
} from "../../src/core/target.ts";
import type { Row } from "../../src/core/value.ts";

export const BOUND: BoundTable = {
  name: { schema: null, name: "t" },
  columns: [{ name: "id", type: { kind: "text" } }],
  key: [0],
  parents: [],
  cascades: false,
  followed: false,
};

/** The target contract in memory: one table, one column. */
export class MemoryTarget implements Target {
  readonly parked = null;
  progress: Progress = { timeline: "", position: START, hash: "", tables: [] };
  readonly rows = new Set<string>();
  others: readonly OthersTable[] = [];
  /** Of the transaction begun last. */
  #written: ReadonlySet<string> = this.rows;
  /** Thrown by the next commit. */
  failNextCommit: TidemarkError | null = null;
  /** Transactions begun and not ended. */
  open = 0;
  /** As ApplierSession.flush(). */
  flush = async (): Promise<void> => {};
  /** Called after each commit. */
  onCommit: (progress: Progress) => void = () => {};

  async identity(): Promise<null> {
    return null;
  }

  async plan(): Promise<TargetPlan> {
    return { statements: [], mappings: [], notes: [], tables: [BOUND] };
  }

  async prepare(): Promise<void> {}

  async diagnose(): Promise<[]> {
    return [];
  }

  async copiesOf(): Promise<Progress["tables"]> {
    return this.progress.tables;
  }

  async filled(tables: readonly BoundTable[]): Promise<readonly BoundTable[]> {
    return this.rows.size > 0 ? tables : [];
  }

  async openApplier(): Promise<ApplierSession> {
    return {
      load: async () => this.progress,
      loadPlace: async () => this.progress,
      begin: async () => this.#begin(),
      flush: () => this.flush(),
      emptyOf: async (tables) => tables.filter(() => this.rows.size === 0),
      others: async () => this.others,
      isAtWork: async () => false,
      forget: async (copies) => {
        this.others = this.others.filter((entry) => !copies.includes(entry));
      },
      countRows: async (_, limit) => Math.min(this.#written.size, limit),
      close: async () => {},
    };
  }

  async close(): Promise<void> {}

  #begin(): TargetTransaction {
    const rows = new Set(this.rows);
    this.#written = rows;
    this.open++;
    const id = (row: Row) => String(row[0]);
    return {
      enforcing: false,
      attempt: (work) => work(),
      remove: async (_, keys) => {
        for (const key of keys) rows.delete(id(key));
      },
      put: async (_, values) => {
        for (const row of values) rows.add(id(row));
      },
      clear: async () => rows.clear(),
      verify: async () => {},
      commit: async (next) => {
        const failure = this.failNextCommit;
        this.failNextCommit = null;
        if (failure !== null) throw failure;
        this.rows.clear();
        for (const row of rows) this.rows.add(row);
        this.progress = next;
        this.open--;
        this.onCommit(next);
      },
      rollback: async () => {
        this.open--;
      },
    };
  }
}

export function connectionLost(): TidemarkError {
  return new TidemarkError("TM-CONNECTION-LOST", "The connection is lost.");
}
