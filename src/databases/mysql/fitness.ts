import { objectionTo } from "../../core/collation.ts";
import { type ColumnType, isMixed } from "../../core/column-type.ts";
import type { TargetColumn } from "../../core/target.ts";
import type { Flavour } from "./flavour.ts";
import {
  BOOLEAN_RULE,
  floatRule,
  JSON_RULE,
  MIXED_KEY,
  MIXED_RULE,
  ownFloatRule,
  UTC_RULE,
  YEARS_RULE,
} from "./target-types.ts";
import { bareType, isGeometry, KIND, labels, type NativeColumn, nativeTypeName } from "./types.ts";

/** Whether a standing column takes the values of a source's column. */
export interface Fit {
  readonly fidelity: "exact" | "by-rule" | "refused";
  readonly note?: string;
}

const EXACT: Fit = { fidelity: "exact" };
const INTEGER_BITS: Readonly<Record<string, number>> = {
  tinyint: 8,
  smallint: 16,
  mediumint: 24,
  int: 32,
  bigint: 64,
};
/** Bytes that these hold at most; a VARCHAR holds characters and says how many. */
const TEXT_BYTES: Readonly<Record<string, number>> = {
  tinytext: 255,
  text: 65_535,
  mediumtext: 16_777_215,
  longtext: 4_294_967_295,
};
const BLOB_BYTES: Readonly<Record<string, number>> = {
  tinyblob: 255,
  blob: 65_535,
  mediumblob: 16_777_215,
  longblob: 4_294_967_295,
};
const TEXTS = new Set(["char", "varchar", ...Object.keys(TEXT_BYTES)]);

/** Does what stands hold what is asked? Strict mode refuses a value that does not fit; silence is ruled out here. */
export function assess(asked: TargetColumn, column: NativeColumn, context: FitContext): Fit {
  if (column.generated) {
    return refused(
      "the target computes this column itself",
      `leave it out: except: [${asked.name}]`,
    );
  }
  if (asked.nullable && !column.nullable && !context.inKey) {
    return worst(
      holds(asked, column, context),
      ruled("a row in which it is null is refused (NOT NULL here)"),
    );
  }
  return holds(asked, column, context);
}

export interface FitContext {
  readonly flavour: Flavour;
  readonly inKey: boolean;
  /** A unique index that holds the column whole; null: none does. */
  readonly unique: string | null;
}

function holds(asked: TargetColumn, column: NativeColumn, context: FitContext): Fit {
  const { type } = asked;
  if (context.inKey && column.dataType === "float") {
    return refused("a FLOAT cannot be found again by its value", "use another type");
  }
  if (isText(column)) return holdsAsText(asked, column, context);
  if (sameNative(asked, column)) return asOwn(asked, context);
  const precision = column.datetimePrecision ?? 0;
  switch (type.kind) {
    case "text":
      return column.json || column.dataType === "json"
        ? ruled("a text that is no JSON is refused")
        : unfit(asked, column);
    case "boolean":
      return column.dataType in INTEGER_BITS || column.dataType === "bit"
        ? ruled(BOOLEAN_RULE)
        : unfit(asked, column);
    case "integer":
      return holdsInteger(type, column, asked);
    case "decimal":
      return holdsDecimal(type, column, asked);
    case "float":
      if (column.dataType === "double" || (column.dataType === "float" && type.bits === 32)) {
        return asked.sourceKind === KIND
          ? asOwn(asked, context)
          : ruled(floatRule(context.flavour));
      }
      return column.dataType === "float"
        ? refused("a FLOAT loses digits of a 64-bit number", "ALTER the column to DOUBLE")
        : unfit(asked, column);
    case "bytes":
      return holdsBytes(type, column, asked);
    case "date":
      return column.dataType === "date" ? ruled(YEARS_RULE) : unfit(asked, column);
    case "time":
      return column.dataType === "time"
        ? fraction(type.precision, precision)
        : unfit(asked, column);
    case "timestamp":
      return column.dataType === "datetime"
        ? worst(
            fraction(type.precision, precision),
            asked.sourceKind === KIND ? EXACT : ruled(YEARS_RULE),
          )
        : unfit(asked, column);
    case "timestamptz":
      if (column.dataType === "timestamp") {
        return worst(
          fraction(type.precision, precision),
          ruled("years 1970 to 2038; others are refused"),
        );
      }
      return column.dataType === "datetime"
        ? worst(fraction(type.precision, precision), ruled(`${UTC_RULE}; ${YEARS_RULE}`))
        : unfit(asked, column);
    case "json":
      if (column.json) return EXACT;
      return column.dataType === "json" ? ruled(JSON_RULE) : unfit(asked, column);
    case "uuid":
      return column.dataType === "uuid"
        ? ruled("a UUID of no standard (variant 0 to 7, version 8 to f) is refused")
        : unfit(asked, column);
    case "bit":
      return column.dataType === "bit" && column.precision === type.length && type.varying !== true
        ? EXACT
        : unfit(asked, column);
    case "enum":
      return column.dataType === "enum" ? holdsLabels(type.values, column) : unfit(asked, column);
    default:
      return unfit(asked, column);
  }
}

/** From a server of our own kind, into a type that holds its values. */
function asOwn(asked: TargetColumn, { flavour }: FitContext): Fit {
  const rule = ownFloatRule(asked, flavour);
  return rule === null ? EXACT : ruled(rule);
}

/** The same type of the same kind of server. */
function sameNative(asked: TargetColumn, column: NativeColumn): boolean {
  if (asked.sourceKind !== KIND) return false;
  // Display widths say nothing about values, and MySQL no longer shows them, as MariaDB does: `year(4)`.
  const plain = (text: string) =>
    text.replace(/^(tinyint|smallint|mediumint|int|bigint|year)\(\d+\)/, "$1");
  return plain(bareType(asked.nativeType)) === plain(bareType(nativeTypeName(column)));
}

function holdsInteger(
  type: Extract<ColumnType, { kind: "integer" }>,
  column: NativeColumn,
  asked: TargetColumn,
): Fit {
  if (column.dataType === "decimal") {
    const digits = (column.precision ?? 10) - (column.scale ?? 0);
    const needed = { 8: 3, 16: 5, 24: 8, 32: 10, 64: 20 }[type.bits];
    return digits >= needed ? EXACT : ruled(`numbers of more than ${digits} digits are refused`);
  }
  const bits = INTEGER_BITS[column.dataType];
  if (bits === undefined) return unfit(asked, column);
  const unsigned = column.columnType.includes("unsigned");
  const wide =
    type.unsigned === true
      ? unsigned
        ? bits >= type.bits
        : bits > type.bits
      : !unsigned && bits >= type.bits;
  return wide ? EXACT : ruled(`numbers out of the range of ${column.columnType} are refused`);
}

function holdsDecimal(
  type: Extract<ColumnType, { kind: "decimal" }>,
  column: NativeColumn,
  asked: TargetColumn,
): Fit {
  if (column.dataType !== "decimal") return unfit(asked, column);
  const places = column.scale ?? 0;
  const digits = (column.precision ?? 10) - places;
  const { precision, scale = 0 } = type;
  if (precision !== undefined && scale <= places && precision - scale <= digits) return EXACT;
  // The server would round without a word; our own writer refuses instead (see literals.ts).
  return ruled(`more than ${digits} digits before or ${places} after the point are refused`);
}

function holdsBytes(
  type: Extract<ColumnType, { kind: "bytes" }>,
  column: NativeColumn,
  asked: TargetColumn,
): Fit {
  if (column.dataType === "binary") {
    return type.fixed === true && type.maxLength === column.length
      ? EXACT
      : refused("BINARY fills shorter values with zeros", "ALTER the column to VARBINARY");
  }
  const room =
    BLOB_BYTES[column.dataType] ?? (column.dataType === "varbinary" ? column.length : null);
  if (room === null || room === undefined) return unfit(asked, column);
  return room >= (type.maxLength ?? BLOB_BYTES.longblob ?? 0)
    ? EXACT
    : ruled(`more than ${room} bytes are refused`);
}

function holdsLabels(values: readonly string[], column: NativeColumn): Fit {
  const known = new Set(labels(column.columnType));
  const missing = values.filter((value) => !known.has(value));
  return missing.length === 0 ? EXACT : ruled(`${missing.length} labels are missing here: refused`);
}

function fraction(asked: number | undefined, precision: number): Fit {
  return (asked ?? 6) <= precision
    ? EXACT
    : refused(
        `the server would round fractions of a second to ${precision} digits without a word`,
        `ALTER the column to a precision of ${asked ?? 6}`,
      );
}

function isText(column: NativeColumn): boolean {
  return TEXTS.has(column.dataType) && !column.json;
}

/** Any value goes into a text column as its canonical text; what may be lost is length, padding and characters. */
function holdsAsText(asked: TargetColumn, column: NativeColumn, context: FitContext): Fit {
  const { type } = asked;
  if (isGeometry(type) || type.kind === "bytes") return unfit(asked, column);
  const fits: Fit[] = [];
  if (isMixed(type)) {
    if (context.inKey) return { fidelity: "refused", note: MIXED_KEY };
    fits.push(ruled(MIXED_RULE));
  } else if (!["text", "enum", "json", "uuid"].includes(type.kind)) fits.push(ruled("as text"));
  fits.push(length(type, column));
  if (column.charset !== "utf8mb4" && type.kind !== "uuid") {
    fits.push(ruled(`characters that ${column.charset} lacks are refused`));
  }
  fits.push(uniqueCollation(asked, column, context));
  return fits.reduce(worst, EXACT);
}

function length(type: ColumnType, column: NativeColumn): Fit {
  const same = type.kind === "text" && type.fixed === true;
  if (column.dataType === "char" && !same && type.kind !== "uuid") {
    return refused("CHAR drops spaces at the end", "ALTER the column to VARCHAR");
  }
  const bytes = TEXT_BYTES[column.dataType];
  const room = bytes === undefined ? (column.length ?? 0) : Math.floor(bytes / 4);
  if (type.kind === "uuid" && room >= 36) return EXACT;
  if (type.kind === "text" && type.maxLength !== undefined && type.maxLength <= room) return EXACT;
  if (column.dataType === "longtext") return EXACT;
  return ruled(`more than ${column.length ?? room} characters are refused`);
}

/** Two texts that the source tells apart must not be one here. */
function uniqueCollation(
  asked: TargetColumn,
  { collation }: NativeColumn,
  { flavour, unique }: FitContext,
): Fit {
  if (unique === null || collation === null || flavour.exactCollations.has(collation)) return EXACT;
  const objection = objectionTo(asked, { index: unique, collation, kind: KIND });
  if (objection === null || padsAlike(asked, collation)) return EXACT;
  return refused(
    objection,
    `ALTER the column to CHARACTER SET utf8mb4 COLLATE ${flavour.exactCollation}`,
  );
}

/** Under `utf8mb4_bin` only spaces at the end make no difference, and at this source they make none either. */
function padsAlike({ sourceKind, looseCollation }: TargetColumn, collation: string): boolean {
  if (sourceKind !== KIND || looseCollation === undefined) return false;
  return /_bin$/.test(collation) && !/nopad|0900/.test(looseCollation);
}

function unfit(asked: TargetColumn, column: NativeColumn): Fit {
  return refused(
    `${column.columnType} cannot hold ${asked.nativeType}`,
    "ALTER the column, or leave it out",
  );
}

function ruled(note: string): Fit {
  return { fidelity: "by-rule", note };
}

function refused(why: string, fix: string): Fit {
  return { fidelity: "refused", note: `${why}: ${fix}` };
}

const RANK = { exact: 0, "by-rule": 1, refused: 2 } as const;

function worst(a: Fit, b: Fit): Fit {
  if (RANK[a.fidelity] === RANK[b.fidelity] && a.note !== undefined && b.note !== undefined) {
    return { ...a, note: `${a.note}; ${b.note}` };
  }
  return RANK[b.fidelity] > RANK[a.fidelity] ? b : a;
}
