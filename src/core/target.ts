import type { ColumnType } from "./column-type.ts";
import type { Finding, Identified } from "./database.ts";
import type { TidemarkError } from "./errors.ts";
import type { ParkedRows } from "./parked.ts";
import type { Position } from "./position.ts";
import type { RowLines } from "./row-lines.ts";
import { formatTable, type TableName } from "./table.ts";
import type { Row } from "./value.ts";

/**
 * The target contract: rows and progress committed in one transaction of the target (G2).
 * Net effect, ordering of tables and the choice of strategy are the applier's (src/applier);
 * an adapter gives set-based primitives and tells errors apart by code.
 */
export interface Target extends Identified {
  /** Compares what is asked with what stands; changes nothing. Refusals are in the plan, not thrown. */
  plan(tables: readonly TargetTable[]): Promise<TargetPlan>;
  /**
   * Creates our tables and the missing tables of a plan without refusals. What another process has
   * made since the plan, or makes now, is left as it is: plan again to know whether it fits.
   */
  prepare(plan: TargetPlan): Promise<void>;
  diagnose(tables: readonly TargetTable[]): Promise<readonly Finding[]>;
  /** Where rows set aside are kept; null where nothing can be. */
  readonly parked: ParkedRows | null;
  /**
   * How far each table of a sync has been copied, whoever is at work on it meanwhile: for people, since it may be old
   * at once. Empty where the sync has never run; null where it is not kept in the target.
   */
  copiesOf(sync: string): Promise<readonly TableProgress[] | null>;
  /** Which of these tables stand and hold rows; none of what is not told to us, as of a function. */
  filled(tables: readonly BoundTable[]): Promise<readonly BoundTable[]>;
  /** As ApplierSession.markOf of each that stands, without the lease. Absent where there are no marks. */
  marksOf?(tables: readonly BoundTable[]): Promise<ReadonlyMap<BoundTable, string>>;
  /** Takes the lease of the sync at this target; null while another applier holds it. */
  openApplier(sync: string, tables: readonly BoundTable[]): Promise<ApplierSession | null>;
  close(): Promise<void>;
}

/** A table as the sync wants it at the target. */
export interface TargetTable {
  readonly name: TableName;
  readonly columns: readonly TargetColumn[];
  /** Names of the key's columns. Empty: rows are matched whole. */
  readonly key: readonly string[];
  /** Columns that the source computes, and that are not sent for that. */
  readonly generated?: readonly string[];
}

/** Of a table that a target is to make: one that stands may compute its own. */
export function generatedNotes({ name, generated = [] }: TargetTable): string[] {
  if (generated.length === 0) return [];
  const columns = generated.join(", ");
  return [
    `${formatTable(name)}: made without ${columns}, which the source computes (generated columns are not sent). To have ${generated.length === 1 ? "it" : "them"} at the target, make the table there with generated columns of its own.`,
  ];
}

/** Why a target that is to make a table cannot: its index has no room for all columns of the key. */
export function longKeyNote(product: string, most: number, columns: number): string {
  return `an index of ${product} has at most ${most} columns, the key has ${columns}: give the table a shorter one at the source, or leave it out`;
}

export interface TargetColumn {
  readonly name: string;
  readonly type: ColumnType;
  /** As the source spells it, for messages and for a target of the same kind. */
  readonly nativeType: string;
  /** `kind` of the source's adapter: the same kind may take the native type as it stands. */
  readonly sourceKind: string;
  readonly nullable: boolean;
  /** As in ColumnSchema. */
  readonly looseCollation?: string;
  /** As in ColumnSchema. */
  readonly negativeZero?: true;
  /** As in ColumnSchema. */
  readonly zeroDate?: true;
}

export interface TargetPlan {
  /** DDL still to run, ours included; empty when all stands. */
  readonly statements: readonly string[];
  readonly mappings: readonly ColumnMapping[];
  /** For people: what stands at the target and may do harm, although nothing is refused. */
  readonly notes: readonly string[];
  /** What else a start does there, for who plans one: of this nobody is warned at the start. */
  readonly remarks?: readonly string[];
  /** Rights that are still to be granted, to make and to write the tables, each with its statement; as `diagnose` finds them. */
  readonly lacks?: readonly Finding[];
  /** Parents before children by the target's foreign keys. Same order of columns as asked. */
  readonly tables: readonly BoundTable[];
}

/** How one column travels (G6). */
export interface ColumnMapping {
  readonly table: TableName;
  readonly column: string;
  readonly sourceType: string;
  readonly targetType: string;
  readonly fidelity: "exact" | "by-rule" | "refused";
  /** The rule, or why it is refused and what to do. */
  readonly note?: string;
}

/** A target table ready for rows. An adapter may keep its own facts beside it, by identity. */
export interface BoundColumn {
  readonly name: string;
  readonly type: ColumnType;
  /** Are texts of one number (1.0 and 1.00) the same to the target's column? Not where it keeps texts. */
  readonly numeric?: boolean;
}

export interface BoundTable {
  readonly name: TableName;
  /** Written columns. Rows given to the transaction are in this order. */
  readonly columns: readonly BoundColumn[];
  /** Indexes into `columns`. Empty: the table has no key, several rows may be equal. */
  readonly key: readonly number[];
  /** Tables of the same plan that this one's foreign keys refer to, by index into the plan's tables. */
  readonly parents: readonly number[];
  /** Does deleting a row here let a foreign key of the target delete or change other rows? */
  readonly cascades: boolean;
  /**
   * Does changing a column outside the key let a foreign key of the target change other rows (ON UPDATE)? They
   * then follow a row that was deleted and came back with another value, as nothing did at the source.
   */
  readonly followed: boolean;
}

export type TableState = "pending" | "copying" | "live";

export interface TableProgress {
  /** Name of the *source* table, as formatTable gives it. */
  readonly table: string;
  readonly state: TableState;
  /** Cursor of the last chunk applied. */
  readonly cursor: string | null;
  /** Identity of the copy, so that a chunk asked for earlier is not mistaken for this one. */
  readonly copy: string;
  /** Did rows of this table stand at the target when this was committed? */
  readonly hasRows: boolean;
}

export function sameTableProgress(a: TableProgress, b: TableProgress): boolean {
  const sameCopy = a.copy === b.copy && a.cursor === b.cursor;
  return sameCopy && a.state === b.state && a.hasRows === b.hasRows;
}

/** What another sync of the same target has stored of a table. */
export interface OthersTable extends Pick<TableProgress, "table" | "state" | "copy"> {
  readonly sync: string;
}

/** Up to where a sync has applied. Position 0 and an empty timeline before anything. */
export interface Place {
  readonly timeline: string;
  readonly position: Position;
  /** Hash of `position.batch`. */
  readonly hash: string;
}

/** What a sync has applied; stored in the target. */
export interface Progress extends Place {
  readonly tables: readonly TableProgress[];
}

export interface BeginOptions {
  readonly relaxed?: boolean;
  readonly postponed?: boolean;
}

/** One applier's session. After any error other than TM-APPLY-CONSTRAINT within `attempt`, close it and open anew. */
export interface ApplierSession {
  /**
   * May a table hold rows that progress knows nothing of, since it is kept elsewhere and can be lost? Then each
   * copy begins with a clear.
   */
  readonly mayHoldMore?: boolean;
  /** What to tell of a call that has been at work for `ms` and more, and may yet end. Absent: what calls nobody. */
  late?(ms: number): TidemarkError | null;
  /**
   * Can rows of this table be written as they are in binary, from a source that spells the types of the columns so? Absent: of none.
   */
  takesBinary?(table: BoundTable, types: readonly string[]): boolean;
  /**
   * What tells the table that this session writes from another that takes its place under the same name, with no colon: where progress
   * is kept, a slash, the table. Both are other ones where a backup of the whole database was put back. Absent: nothing tells.
   */
  markOf?(table: BoundTable): string;
  /**
   * Call between transactions, as often as need be. Throws TM-APPLY-RETRY when another table stands under the name of one that this
   * session writes. Absent: nothing tells.
   */
  assertNoneReplaced?(): Promise<void>;
  load(): Promise<Progress>;
  /** Call between transactions, as often as need be: it costs the same however many tables there are. */
  loadPlace(): Promise<Place>;
  /**
   * Begins a transaction. The progress row must still be as given; else this, or whatever comes next up to
   * the commit, throws TM-APPLY-FENCED, and nothing is written.
   * `relaxed`: do not enforce foreign keys in this transaction where the database lets us choose
   * (during the initial copy).
   * `postponed`: as relaxed, and what must be enforced all the same is put off to `verify`, as far as
   * the keys allow.
   */
  begin(expected: Progress, options?: BeginOptions): Promise<TargetTransaction>;
  /**
   * Call between transactions. Resolves when whatever was committed before, by anybody, outlives a
   * crash of the server. Until then what is applied may not be told to those who would discard it.
   */
  flush(): Promise<void>;
  /** Call between transactions. Those of the tables that hold no row at all. */
  emptyOf(tables: readonly BoundTable[]): Promise<readonly BoundTable[]>;
  /** Call between transactions. What stands of the tables of all other syncs, whether or not an applier is at work for them. */
  others(): Promise<readonly OthersTable[]>;
  /** Call between transactions. Does an applier hold this sync, which is another one? */
  isAtWork(sync: string): Promise<boolean>;
  /** Call between transactions. Those syncs forget these copies, as if the tables were not in them; another copy of the same table stays. */
  forget(copies: readonly OthersTable[]): Promise<void>;
  /** Call within a transaction, outside its attempts. How many rows the table now holds, counted up to `limit`. */
  countRows(table: BoundTable, limit: number): Promise<number>;
  close(): Promise<void>;
}

/** Rows on their way into a table. While it is open the transaction takes nothing else but a rollback. */
export interface LinesWriter {
  /** Rows without filters, their fields in the order of `table.columns`. Resolves when more may come. */
  write(lines: RowLines): Promise<void>;
  /**
   * Throws TM-APPLY-CONSTRAINT (a row stands already, or a rule is broken) or TM-VALUE-REFUSED, all that was
   * written undone; the transaction goes on.
   */
  close(): Promise<void>;
}

/**
 * Throws TM-APPLY-CONSTRAINT (a unique, foreign key, check or not-null rule), TM-APPLY-RETRY
 * (deadlock, serialization, lock timeout), TM-CONNECTION-LOST, TM-VALUE-REFUSED (names table and
 * column, never the value), TM-DISK-FULL, TM-READ-ONLY, TM-COLUMN-MISSING, TM-TABLE-MISSING.
 */
export interface TargetTransaction {
  /** Are foreign keys enforced, and their actions carried out, as statements run? */
  readonly enforcing: boolean;
  /** Runs `work` under a savepoint: when it throws TM-APPLY-CONSTRAINT its effects are undone before the error passes on. */
  attempt<T>(work: () => Promise<T>): Promise<T>;
  /**
   * As `attempt`, sent behind the one under way before its outcome is known, so that the target need not wait for what comes
   * next. False: nothing of it was done, since something of the transaction has failed before; it is to be attempted again
   * when that is done by other means. At most one may be behind another. Absent: each waits for the one before.
   */
  attemptBehind?(work: () => Promise<void>): Promise<boolean>;
  /**
   * Deletes the rows with these keys (order of `BoundTable.key`); absent ones are no error. Where the
   * table has no key these are whole rows, and each deletes one of those equal to it, NULL to NULL.
   */
  remove(table: BoundTable, keys: readonly Row[]): Promise<void>;
  /**
   * Inserts the rows, or makes the rows of the same key equal to them. Keys are distinct within a call. A row that collides on
   * another unique key is TM-APPLY-CONSTRAINT, never an overwrite of the other row.
   * `fresh`: most likely none exists yet (a fast path may be tried).
   * A value may be UNCHANGED: that column of the existing row is left as it is.
   * Where the table has no key, each row is added.
   */
  put(
    table: BoundTable,
    rows: readonly Row[],
    options?: { readonly fresh?: boolean },
  ): Promise<void>;
  /**
   * Begins to insert rows as they came from the source. Null when values of this table must be
   * changed on the way. Absent: rows are only taken by `put`. `binary`: of a table of which {@link ApplierSession.takesBinary} tells so.
   */
  openLines?(table: BoundTable, binary?: boolean): Promise<LinesWriter | null>;
  /** Deletes all rows. */
  clear(table: BoundTable): Promise<void>;
  /**
   * Checks the foreign keys of these tables, and those that refer to them, as they now stand.
   * Throws TM-APPLY-CONSTRAINT.
   */
  verify(tables: readonly BoundTable[]): Promise<void>;
  /**
   * Stores progress (of `tables` only those that differ) and commits: all of it can be read then, and is
   * durable after {@link ApplierSession.flush}. When it throws, the outcome is unknown: load() tells.
   */
  commit(next: Progress): Promise<void>;
  /**
   * As `attempt(work)` and then `commit(next)`, for a transaction that holds nothing else, without waiting
   * in between. When it throws TM-APPLY-CONSTRAINT the whole transaction is undone: begin anew.
   */
  finish?(work: () => Promise<void>, next: Progress): Promise<void>;
  rollback(): Promise<void>;
}
