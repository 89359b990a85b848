import type { Position } from "./position.ts";

/** A whole pipeline as a config describes it, checked and normalised (src/config makes it). */
export interface PipelineDefinition {
  readonly databases: readonly DatabaseDefinition[];
  readonly queue: QueueDefinition;
  readonly syncs: readonly SyncDefinition[];
  readonly retention: RetentionDefinition;
}

export type DatabaseDefinition =
  | { readonly name: string; readonly url: string }
  | { readonly name: string; readonly deliver: DeliverFunction };

export interface QueueDefinition {
  readonly url: string;
  /** Bound of one source's stream in the queue, in bytes. */
  readonly maxStreamBytes: number;
  /** May a single batch that is larger pass the bound? Where nobody has set one. */
  readonly isBoundSoft?: boolean;
}

export interface RetentionDefinition {
  /** Bound of the change log in a source; past it the log is purged over the heads of targets that lag (G7). */
  readonly maxLogBytes: number;
  /**
   * What every target has applied stays so long in the log, in milliseconds: one that loses its last commits, as a standby
   * that is promoted without them, is sent them again. Not in a log that has half of its bound.
   */
  readonly keptMs: number;
}

/** One source to one target. */
export interface SyncDefinition {
  /** `shop->reports`: unique, also the name under which progress is kept at the target. */
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly tables: readonly TableRule[];
  /** Names and globs of source tables that no glob of `tables` takes. */
  readonly except?: readonly string[];
}

/** Which source tables, and how each arrives. */
export interface TableRule {
  /** `public.orders`, or a glob: `public.*`. */
  readonly table: string;
  /** Name at the target, `schema.name` or `name`; only without a glob. Default: the same name. */
  readonly as?: string;
  /** Only these columns, or all but these. */
  readonly columns?: readonly string[];
  readonly except?: readonly string[];
  /** Source name to target name of columns. */
  readonly rename?: Readonly<Record<string, string>>;
  /** SQL condition over the row, in the source's dialect. A row that leaves it is deleted at the target. */
  readonly where?: string;
  /** What a TRUNCATE at the source does at the target. Default: apply. */
  readonly truncate?: TruncatePolicy;
  /** What becomes of a row for which `where`, `filter` or `transform` fails. Default: stop. */
  readonly onError?: ErrorPolicy;
  readonly filter?: RowFilter;
  readonly transform?: Transform;
}

/** `apply`: every row goes. `ignore`: the rows stay. `stop`: the sync stops and says so. */
export type TruncatePolicy = "apply" | "ignore" | "stop";

/** `stop`: the sync stops. `park`: the row is set aside at the target, and all others go on. */
export type ErrorPolicy = "stop" | "park";

/** A row as programs see it: column name to canonical text (core/column-type.ts), or null. */
export type RowObject = Record<string, string | null>;

/** Keeps a row when it returns true. Pure: the same row must always get the same answer. */
export type RowFilter = (row: RowObject) => boolean;

/**
 * Changes a row on its way; null leaves it out (as a filter would). Pure, all columns and no others, and it
 * may not change the key (a delete brings nothing but the key).
 */
export type Transform = (row: RowObject) => RowObject | null;

/** A target that is a function: called with each group of whole batches, in order, at least once. */
export type DeliverFunction = (delivery: Delivery) => Promise<void> | void;

export interface Delivery {
  readonly sync: string;
  readonly timeline: string;
  /**
   * The last position of the group; where `complete` is false, that of the group before it. What is repeated may be cut into
   * other groups than before, and so end earlier as well as later.
   */
  readonly position: Position;
  readonly changes: readonly RowChange[];
  /** False when more of the same batches follows: what is large comes in several calls. */
  readonly complete: boolean;
}

/** The net effect on one row since the last delivery: the row as it now is, or that it is gone. */
export interface RowChange {
  /** Name at the target. */
  readonly table: string;
  /** `clear`: every row of the table is gone, or, before a copy, what was handed over of it before is to be forgotten. */
  readonly op: "put" | "remove" | "clear";
  readonly key: RowObject | null;
  readonly row: RowObject | null;
}
