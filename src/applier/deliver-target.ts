import { keyColumns } from "../core/change.ts";
import type { DeliverFunction, RowChange, RowObject } from "../core/definition.ts";
import { keys } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import { START } from "../core/position.ts";
import type { Documents } from "../core/queue.ts";
import { formatTable } from "../core/table.ts";
import type {
  ApplierSession,
  BoundTable,
  Place,
  Progress,
  Target,
  TargetPlan,
  TargetTable,
  TargetTransaction,
} from "../core/target.ts";
import type { Row } from "../core/value.ts";
import { toObject } from "./user-row.ts";

/** Changes kept before they are handed over: memory stays flat in the size of a batch. */
const DELIVERY_CHANGES = 10_000;
/** Characters of their values, likewise. One change may have more. */
const DELIVERY_TEXT = 8 * 1024 * 1024;

const NOTHING: Progress = { timeline: "", position: START, hash: "", tables: [] };

/**
 * A function as a target: it gets the net effect of each group of whole batches. It has no
 * transaction to keep progress in, so progress stands in the queue's documents and is written
 * after the function has resolved: at least once.
 */
export class DeliverTarget implements Target {
  readonly #deliver: DeliverFunction;
  readonly #documents: Documents | null;
  readonly #atOnce: number;

  /** `documents`: where progress stands; null to plan only. `atOnce`: so many changes are handed over in one call. */
  constructor(
    deliver: DeliverFunction,
    documents: Documents | null,
    atOnce: number = DELIVERY_CHANGES,
  ) {
    this.#deliver = deliver;
    this.#documents = documents;
    this.#atOnce = atOnce;
  }

  /** A function keeps nothing. */
  readonly parked = null;

  /** Two functions are never one. */
  async identity(): Promise<null> {
    return null;
  }

  async plan(tables: readonly TargetTable[]): Promise<TargetPlan> {
    const bound = tables.map(
      (table): BoundTable => ({
        name: table.name,
        columns: table.columns.map(({ name, type }) => ({ name, type })),
        key: table.key.map((key) => table.columns.findIndex(({ name }) => name === key)),
        parents: [],
        cascades: false,
        followed: false,
      }),
    );
    return { statements: [], mappings: [], notes: [], tables: bound };
  }

  async prepare(): Promise<void> {}

  async diagnose(): Promise<[]> {
    return [];
  }

  async copiesOf(sync: string): Promise<Progress["tables"] | null> {
    if (this.#documents === null) return null;
    return (await storedProgress(this.#documents, sync)).tables;
  }

  /** What a function has made of its rows is not known. */
  async filled(): Promise<[]> {
    return [];
  }

  async openApplier(sync: string): Promise<ApplierSession> {
    if (this.#documents === null) {
      throw new TidemarkError("TM-INTERNAL", "A function was opened without a queue.");
    }
    return new DeliverSession(sync, this.#deliver, this.#documents, this.#atOnce);
  }

  async close(): Promise<void> {}
}

async function storedProgress(documents: Documents, sync: string): Promise<Progress> {
  return ((await documents.get(keys.delivered(sync))) as Progress | null) ?? NOTHING;
}

class DeliverSession implements ApplierSession {
  /** What was handed over before the queue lost all progress. */
  readonly mayHoldMore = true;
  readonly #sync: string;
  readonly #deliver: DeliverFunction;
  readonly #documents: Documents;
  readonly #atOnce: number;
  /** The call that is at work; `began` by a clock that nobody sets back. */
  #call: { readonly began: number; readonly at: string; readonly batch: number } | null = null;

  constructor(sync: string, deliver: DeliverFunction, documents: Documents, atOnce: number) {
    this.#sync = sync;
    this.#deliver = deliver;
    this.#documents = documents;
    this.#atOnce = atOnce;
  }

  async load(): Promise<Progress> {
    return storedProgress(this.#documents, this.#sync);
  }

  loadPlace(): Promise<Place> {
    return this.load();
  }

  async begin(expected: Progress): Promise<TargetTransaction> {
    return new DeliverTransaction({
      deliver: (changes, next) => this.#hand(changes, next ?? expected, next !== null),
      commit: (next) => this.#documents.put(keys.delivered(this.#sync), next),
      atOnce: this.#atOnce,
    });
  }

  /** A commit is durable when it resolves. */
  async flush(): Promise<void> {}

  /** What a function has made of its rows is not known. */
  async emptyOf(): Promise<[]> {
    return [];
  }

  /** Whoever else calls the function, it has no tables. */
  async others(): Promise<[]> {
    return [];
  }

  async isAtWork(): Promise<boolean> {
    return false;
  }

  async forget(): Promise<void> {}

  async countRows(_table: BoundTable, limit: number): Promise<number> {
    return limit;
  }

  late(ms: number): TidemarkError | null {
    if (this.#call === null || performance.now() - this.#call.began < ms) return null;
    const { at, batch } = this.#call;
    const message = `The function that is the target of ${this.#sync} was called at ${at}, with changes up to batch ${batch}, and has not come back: the sync waits for it.`;
    return new TidemarkError("TM-TARGET-FUNCTION", message, {
      fix: "See what the function waits for, and give what it calls a time limit: when it throws, it is called again with the same changes.",
      details: { sync: this.#sync },
    });
  }

  async close(): Promise<void> {}

  async #hand(changes: readonly RowChange[], at: Progress, complete: boolean): Promise<void> {
    const { timeline, position } = at;
    const { batch } = position;
    this.#call = { began: performance.now(), at: new Date().toISOString(), batch };
    try {
      await this.#deliver({ sync: this.#sync, timeline, position, changes, complete });
    } catch (cause) {
      const message = `The function that is the target of ${this.#sync} threw an error; the same changes will be handed to it again.`;
      throw new TidemarkError("TM-TARGET-FUNCTION", message, { cause });
    } finally {
      this.#call = null;
    }
  }
}

interface Delivering {
  /** `next` is null while the group goes on. */
  readonly deliver: (changes: readonly RowChange[], next: Progress | null) => Promise<void>;
  readonly commit: (next: Progress) => Promise<void>;
  readonly atOnce: number;
}

class DeliverTransaction implements TargetTransaction {
  readonly enforcing = false;
  readonly #to: Delivering;
  #changes: RowChange[] = [];
  #text = 0;

  constructor(to: Delivering) {
    this.#to = to;
  }

  attempt<T>(work: () => Promise<T>): Promise<T> {
    return work();
  }

  async remove(table: BoundTable, rows: readonly Row[]): Promise<void> {
    const columns = keyColumns(table).flatMap((index) => table.columns[index] ?? []);
    for (const row of rows) {
      const key = toObject({ ...table, columns }, row);
      await this.#add({ table: formatTable(table.name), op: "remove", key, row: null });
    }
  }

  async put(table: BoundTable, rows: readonly Row[]): Promise<void> {
    for (const values of rows) {
      const row = toObject(table, values);
      const names = keyColumns(table).flatMap((index) => table.columns[index]?.name ?? []);
      const key = Object.fromEntries(names.map((name) => [name, row[name] ?? null]));
      await this.#add({ table: formatTable(table.name), op: "put", key, row });
    }
  }

  async clear(table: BoundTable): Promise<void> {
    await this.#add({ table: formatTable(table.name), op: "clear", key: null, row: null });
  }

  /** A function has no foreign keys. */
  async verify(): Promise<void> {}

  async commit(next: Progress): Promise<void> {
    if (this.#changes.length > 0) await this.#to.deliver(this.#changes, next);
    await this.#to.commit(next);
  }

  async rollback(): Promise<void> {
    this.#changes = [];
    this.#text = 0;
  }

  async #add(change: RowChange): Promise<void> {
    const text = textOf(change.row) + textOf(change.key);
    const isFull = this.#changes.length >= this.#to.atOnce || this.#text + text > DELIVERY_TEXT;
    if (isFull && this.#changes.length > 0) {
      await this.#to.deliver(this.#changes, null);
      this.#changes = [];
      this.#text = 0;
    }
    this.#changes.push(change);
    this.#text += text;
  }
}

function textOf(row: RowObject | null): number {
  let length = 0;
  for (const name in row) length += row[name]?.length ?? 0;
  return length;
}
