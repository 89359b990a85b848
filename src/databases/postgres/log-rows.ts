import { type Change, keyColumns, type LayoutColumn, type Operation } from "../../core/change.ts";
import { TidemarkError } from "../../core/errors.ts";
import { parseFilters } from "../../core/row-lines.ts";
import { formatTable } from "../../core/table.ts";
import type { Row as ValueRow } from "../../core/value.ts";
import { FORBIDDEN, HIDDEN } from "./capture-current.ts";
import type { Row } from "./connection.ts";
import { captureBroken } from "./drift.ts";
import type { StoredLayout } from "./layouts.ts";
import { parseRowText } from "./row-text.ts";
import { isBytes } from "./types.ts";
import type { Answerable } from "./uncarried.ts";
import { inUtc } from "./utc.ts";

/** `id, xid, logged_at, kind, row` as the queries of snapshot.ts give them. */
export const ID = 0;
const XID = 1;
/** The layout's number and a letter for the operation: `12U`. */
const KIND = 3;
/** The row, before it a letter for each condition (`tf(1,a)`); the old key for D, K and P; null for T and X. */
const ROW = 4;

/** One for all changes: a backlog has millions. */
const NONE: readonly never[] = [];

const OPERATIONS: Readonly<Record<string, Operation>> = {
  I: "insert",
  U: "update",
  D: "delete",
  // The old key of a key change; the row under its new key follows.
  K: "update",
  T: "truncate",
  // A row that goes with the TRUNCATE of its partition.
  P: "truncate",
  // Rows that nobody can tell went along. It goes by where the table is copied anew since.
  X: "delete",
};

const ALL: Answerable = { isInForce: () => true, lose: () => false };

/** Turns log rows into changes by the layouts they were written with. */
export class LogDecoder {
  readonly #decoders = new Map<number, RowDecoder>();
  readonly #answerable: Answerable;

  constructor(layouts: Iterable<StoredLayout>, answerable = ALL) {
    this.#answerable = answerable;
    for (const layout of layouts) this.add(layout);
  }

  add(layout: StoredLayout): void {
    this.#decoders.set(layout.id, new RowDecoder(layout));
  }

  /**
   * Of which layout rows may pass by as they are: whole, under a key, with nothing to decide of them or to be
   * turned into another text than COPY's. Null: each is to be looked at.
   */
  streamable(layout: string): StreamableLayout | null {
    return this.#decoders.get(Number(layout))?.streamable ?? null;
  }

  /**
   * `batch`: where the row stands. Throws TM-SCHEMA-DRIFT when it has not the columns of a layout that is in force,
   * TM-CAPTURE-BROKEN where rows of a carried table may have gone that nobody logged.
   */
  change(fields: Row, batch: number): Change {
    const kind = fields[KIND] as string;
    const op = kind.charAt(kind.length - 1);
    const layout = kind.slice(0, -1);
    const decoder = this.#decoders.get(Number(layout));
    if (!decoder) {
      throw new TidemarkError(
        "TM-INTERNAL",
        `The change log names layout ${layout}, which is not stored.`,
      );
    }
    if (op === "X" && !decoder.layout.forgotten && !this.#answerable.lose(decoder.layout)) {
      throw unseen(decoder.layout, fields[ROW] ?? null);
    }
    const { readUpTo, blind } = decoder.layout;
    const isKeyless = decoder.layout.key.length === 0;
    const text = op === "X" ? null : (fields[ROW] ?? null);
    const isKey = op === "D" || op === "K" || op === "P";
    const open = text === null || isKey ? 0 : text.indexOf("(");
    // Logged before the table was altered, or after: nothing tells.
    const isLate = readUpTo !== null && batch > readUpTo;
    // Without a key, what is logged as one is a row.
    const isRow = !isKey || isKeyless;
    const values = text === null || (isLate && isRow) ? null : parseRowText(text.slice(open));
    const isUnread = isLate || (isRow && this.#isUnfit(decoder, values));
    // Unread by now, or as it was logged (see writable.ts); or by what is not the key.
    const isLost = isKey && (isKeyless ? isUnread || text === null : isUnread && blind);
    const read = isUnread ? null : values;
    return {
      layout: decoder.layout.id,
      // A truncate with no key is one of all rows.
      op: isLost ? "delete" : (OPERATIONS[op] as Operation),
      keyBefore: !isKey || isLost || values === null ? null : decoder.key(values),
      row: isKey || read === null ? null : decoder.row(read),
      rowBefore: null,
      filters: isKey || read === null ? NONE : parseFilters((text as string).slice(0, open)),
      transaction: fields[XID] ?? null,
      origin: null,
      hops: NONE,
    };
  }

  /**
   * Nobody looked whether a table that no sync carries was altered, in versions before: such a row may stand in a
   * batch. What is captured for a sync of this config has the columns of its layout, or else the relay stops.
   */
  #isUnfit(decoder: RowDecoder, values: readonly unknown[] | null): boolean {
    if (values === null || decoder.isOf(values)) return false;
    return !this.#answerable.isInForce(decoder.layout);
  }
}

/** `why`: see HIDDEN and FORBIDDEN; null of a partition that was truncated. */
function unseen({ table }: StoredLayout, why: string | null): TidemarkError {
  if (why === HIDDEN) {
    return captureBroken(
      formatTable(table),
      `Row-level security was switched on for ${formatTable(table)}, or a partition of it, and hid rows from the role of the URL, which needs BYPASSRLS.`,
    );
  }
  if (why === FORBIDDEN) {
    return captureBroken(
      formatTable(table),
      `The role as which the triggers run lacked SELECT on ${formatTable(table)}, or on a partition of it, or USAGE on its schema or that of its key's type, which it needs back; or that type was renamed or moved: it could not look at the rows.`,
    );
  }
  return captureBroken(
    formatTable(table),
    `A partition of ${formatTable(table)} was truncated by a transaction in REPEATABLE READ or SERIALIZABLE, which does not see what others had added to it meanwhile.`,
  );
}

/** Which fields of a row or key have another text in the log than as values. */
interface LoggedForms {
  readonly width: number;
  readonly bytes: readonly number[];
  /** timestamptz: in the time zone of the session that wrote it. */
  readonly zoned: readonly number[];
}

function loggedForms(columns: readonly LayoutColumn[]): LoggedForms {
  const where = (is: (column: LayoutColumn) => boolean) =>
    columns.flatMap((column, i) => (is(column) ? [i] : []));
  return {
    width: columns.length,
    bytes: where(({ type }) => isBytes(type)),
    zoned: where(({ type }) => type.kind === "timestamptz"),
  };
}

/** What must be known of a row to pass it on; `zoned`: see {@link LoggedForms}. */
export interface StreamableLayout {
  readonly id: number;
  readonly width: number;
  readonly zoned: ReadonlySet<number>;
}

/** From the text of a row or key to canonical values. */
export class RowDecoder {
  readonly layout: StoredLayout;
  /** Only bytes and timestamptz differ from the text in the log. */
  readonly #columns: LoggedForms;
  readonly #key: LoggedForms;

  constructor(layout: StoredLayout) {
    this.layout = layout;
    this.#columns = loggedForms(layout.columns);
    this.#key = loggedForms(keyColumns(layout).map((i) => layout.columns[i] as LayoutColumn));
  }

  /** See {@link LogDecoder.streamable}. */
  get streamable(): StreamableLayout | null {
    const { id, key, filters, readUpTo } = this.layout;
    const { width, bytes, zoned } = this.#columns;
    const asItIs = readUpTo === null && filters.length === 0 && bytes.length === 0;
    return asItIs && key.length > 0 ? { id, width, zoned: new Set(zoned) } : null;
  }

  /** `fields` as parseRowText gives them; they become the values. */
  row(fields: (string | null)[]): ValueRow {
    return this.#decode(fields, this.#columns);
  }

  /** As {@link row}, of a key. */
  key(fields: (string | null)[]): ValueRow {
    return this.#decode(fields, this.#key);
  }

  /** Has the row as many columns as the layout? */
  isOf(fields: readonly unknown[]): boolean {
    return fields.length === this.#columns.width;
  }

  #decode(fields: (string | null)[], { width, bytes, zoned }: LoggedForms): ValueRow {
    if (fields.length !== width) throw this.#drift(fields.length, width);
    for (const i of bytes) {
      const value = fields[i] as string | null;
      if (value !== null) fields[i] = value.slice(2);
    }
    for (const i of zoned) {
      const value = fields[i] as string | null;
      if (value !== null) fields[i] = inUtc(value);
    }
    return fields;
  }

  #drift(found: number, expected: number): TidemarkError {
    const table = formatTable(this.layout.table);
    return new TidemarkError(
      "TM-SCHEMA-DRIFT",
      `The columns of ${table} have changed: a logged row has ${found} where ${expected} were captured.`,
      {
        fix: `Give the target the same columns (tidemark plan prints the statement), then start again: the waiting changes are read with the new columns.`,
        details: { table },
      },
    );
  }
}

/**
 * `2026-11-22 22:31:00.123456+00` as ISO 8601, with six digits of the second: the server leaves zeros at the end out, and
 * such texts would not sort as their times do.
 */
export function isoTime(text: string): string {
  const [time = "", digits = ""] = text
    .replace(" ", "T")
    .replace(/\+00(:00)?$/, "")
    .split(".");
  return `${time}.${digits.padEnd(6, "0")}Z`;
}
