import { type ColumnType, isMixed } from "../../core/column-type.ts";
import type { TargetColumn } from "../../core/target.ts";
import { quoteLiteral } from "./identifiers.ts";
import { ddlType, KIND } from "./types.ts";

export type Fidelity = "exact" | "by-rule" | "refused";

/** How a source column fits a target column. */
export interface Fit {
  readonly fidelity: Fidelity;
  readonly note?: string;
}

/** A column that stands at the target. */
export interface StandingColumn {
  readonly type: ColumnType;
  readonly nativeType: string;
}

const EXACT: Fit = { fidelity: "exact" };
const byRule = (note: string): Fit => ({ fidelity: "by-rule", note });
const refused = (note: string): Fit => ({ fidelity: "refused", note });

const MIXED_RULE = "the text of each value, bytes as X'00ff'";
export const MIXED_KEY: Fit = refused(
  "values of different classes would be one key here: give the key's column a type at the source",
);

/** May the standing column hold every value of the source column, and by what rule? */
export function fitOf(column: TargetColumn, standing: StandingColumn): Fit {
  if (column.sourceKind === KIND && column.nativeType === standing.nativeType) {
    const missing = missingLabels(column.type, standing);
    return missing === null ? EXACT : byRule(`the same label; ${missing}`);
  }
  if (isAnyText(standing) && column.type.kind !== "text" && column.type.kind !== "bytes") {
    if (isMixed(column.type)) return byRule(MIXED_RULE);
    return column.type.kind === "enum"
      ? byRule("the label as text")
      : byRule("the canonical text of the value");
  }
  const rule = RULES[column.type.kind] as (
    type: ColumnType,
    to: ColumnType,
    column: TargetColumn,
  ) => Fit | null;
  return (
    rule(column.type, standing.type, column) ??
    refusedLabels(column.type, standing) ??
    refused(
      `a column of type ${standing.nativeType} cannot hold every ${column.nativeType}; make it ${ddlType(column.type)}`,
    )
  );
}

function isAnyText({ type }: StandingColumn): boolean {
  return type.kind === "text" && type.maxLength === undefined && !type.fixed;
}

type Rule<K extends ColumnType["kind"]> = (
  type: Extract<ColumnType, { kind: K }>,
  to: ColumnType,
  column: TargetColumn,
) => Fit | null;

const RULES: { readonly [K in ColumnType["kind"]]: Rule<K> } = {
  boolean: (_, to) => (to.kind === "boolean" ? EXACT : null),
  integer: fitInteger,
  decimal: fitDecimal,
  float: (type, to) => {
    if (to.kind !== "float" || to.bits < type.bits) return null;
    return to.bits === type.bits ? EXACT : byRule("a wider type");
  },
  text: fitText,
  bytes: (_, to) => (to.kind === "bytes" ? EXACT : null),
  date: (_, to) => {
    if (to.kind === "date") return EXACT;
    return to.kind === "timestamp" ? byRule("midnight of the day") : null;
  },
  time: (type, to, column) => {
    if (to.kind !== "time" || digits(to) < digits(type)) return null;
    return column.sourceKind === KIND
      ? EXACT
      : byRule("times of day only: a value outside 00:00-24:00 is refused");
  },
  timetz: (type, to) => (to.kind === "timetz" && digits(to) >= digits(type) ? EXACT : null),
  timestamp: (type, to) => {
    if (to.kind !== "timestamp" && to.kind !== "timestamptz") return null;
    if (digits(to) < digits(type)) return null;
    return to.kind === "timestamp" ? EXACT : byRule("taken as UTC");
  },
  timestamptz: (type, to) => {
    if (to.kind !== "timestamp" && to.kind !== "timestamptz") return null;
    if (digits(to) < digits(type)) return null;
    return to.kind === "timestamptz" ? EXACT : byRule("the wall clock of UTC");
  },
  interval: (_, to) => (to.kind === "interval" ? EXACT : null),
  json: (_, to) =>
    to.kind === "json"
      ? byRule(
          "the same document; json keeps its text, jsonb orders its keys and keeps one of those that stand twice",
        )
      : null,
  uuid: (_, to) => (to.kind === "uuid" ? EXACT : null),
  bit: (type, to) => {
    if (to.kind !== "bit") return null;
    if (to.varying)
      return to.length === undefined || (type.length ?? Infinity) <= to.length ? EXACT : null;
    return !type.varying && type.length === to.length ? EXACT : null;
  },
  enum: (type, to) => {
    if (to.kind === "text") {
      const longest = Math.max(0, ...type.values.map((value) => [...value].length));
      return !to.fixed && longest <= (to.maxLength ?? Infinity)
        ? byRule("the label as text")
        : null;
    }
    if (to.kind !== "enum") return null;
    return type.values.every((value) => to.values.includes(value))
      ? byRule("the same label")
      : null;
  },
  native: (type, to) =>
    to.kind === "native" && type.database === KIND && type.name === to.name ? EXACT : null,
};

/** Null where none is. */
function missingLabels(type: ColumnType, { type: to, nativeType }: StandingColumn): string | null {
  if (type.kind !== "enum" || to.kind !== "enum") return null;
  const missing = type.values.filter((value) => !to.values.includes(value));
  if (missing.length === 0) return null;
  const adding = missing.map(
    (value) => `ALTER TYPE ${nativeType} ADD VALUE IF NOT EXISTS ${quoteLiteral(value)}`,
  );
  return `the labels ${missing.join(", ")} are missing: ${adding.join("; ")}`;
}

function refusedLabels(type: ColumnType, standing: StandingColumn): Fit | null {
  const missing = missingLabels(type, standing);
  return missing === null ? null : refused(missing);
}

/** Digits of the second. */
function digits(type: { readonly precision?: number }): number {
  return type.precision ?? 6;
}

function fitInteger(type: Extract<ColumnType, { kind: "integer" }>, to: ColumnType): Fit | null {
  const needed = type.unsigned ? type.bits + 1 : type.bits;
  if (to.kind === "integer") {
    const has = to.unsigned ? (type.unsigned ? to.bits + 1 : 0) : to.bits;
    if (has < needed) return null;
    return has === needed ? EXACT : byRule("a wider type");
  }
  if (to.kind === "decimal") {
    const room = (to.precision ?? Infinity) - (to.scale ?? 0);
    return room >= Math.ceil(needed * Math.log10(2))
      ? byRule("the same number as a decimal")
      : null;
  }
  if (to.kind === "float")
    return needed <= (to.bits === 64 ? 54 : 25) ? byRule("the same number as a float") : null;
  return null;
}

function fitDecimal(type: Extract<ColumnType, { kind: "decimal" }>, to: ColumnType): Fit | null {
  if (to.kind !== "decimal") return null;
  if (to.precision === undefined)
    return type.precision === undefined ? EXACT : byRule("a wider type");
  if (type.precision === undefined) return null;
  const [scale, toScale] = [type.scale ?? 0, to.scale ?? 0];
  if (toScale < scale || to.precision - toScale < type.precision - scale) return null;
  return to.precision === type.precision && toScale === scale ? EXACT : byRule("a wider type");
}

function fitText(type: Extract<ColumnType, { kind: "text" }>, to: ColumnType): Fit | null {
  if (to.kind !== "text") return null;
  if (to.fixed) {
    return type.fixed && type.maxLength === to.maxLength ? byRule("padded with spaces") : null;
  }
  if (to.maxLength !== undefined && (type.maxLength ?? Infinity) > to.maxLength) return null;
  return to.maxLength === type.maxLength ? EXACT : byRule("a wider type");
}

/** The type of a column that we create, and how the source column fits it. */
export function createdType(
  column: TargetColumn,
  knows: (nativeType: string) => boolean,
): Fit & { readonly nativeType: string } {
  const { type, sourceKind } = column;
  if (sourceKind === KIND) {
    if (knows(column.nativeType)) return { ...EXACT, nativeType: column.nativeType };
    if (type.kind === "enum")
      return {
        ...byRule(`the label as text: type ${column.nativeType} is not here`),
        nativeType: "text",
      };
    return {
      ...byRule(`as text: type ${column.nativeType} is not here`),
      nativeType: type.kind === "native" ? "text" : ddlType(type),
    };
  }
  const nativeType = ddlType(type);
  if (type.kind === "enum") return { ...byRule("the label as text"), nativeType };
  if (isMixed(type)) return { ...byRule(MIXED_RULE), nativeType };
  if (type.kind === "native") return { ...byRule("the source's own text"), nativeType };
  if (type.kind === "time") {
    return { ...byRule("times of day only: a value outside 00:00-24:00 is refused"), nativeType };
  }
  return { ...EXACT, nativeType };
}
