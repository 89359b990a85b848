import type { ColumnType } from "./column-type.ts";
import type { TargetColumn } from "./target.ts";

/** A unique index of a target, under whose collation different texts are equal. */
export interface LooseIndex {
  readonly index: string;
  readonly collation: string;
  /** `kind` of the target's adapter: names of collations mean something within one kind only. */
  readonly kind: string;
}

/**
 * Why a unique index of the target would take for one what the source keeps as two ('a' and 'A', 'e' and
 * 'é', 'a' and 'a '); null where the source takes the same texts for equal.
 */
export function objectionTo(
  { type, sourceKind, looseCollation }: TargetColumn,
  { index, collation, kind }: LooseIndex,
): string | null {
  if (!HAS_VARIANTS.has(type.kind)) return null;
  if (sourceKind === kind && looseCollation === collation) return null;
  const source = looseCollation ?? "every character";
  return `the unique index ${index} compares texts by the collation ${collation}, under which different ones are equal; the source compares them by ${source}`;
}

/** Canonical texts of the other types have neither case nor accents nor spaces to tell apart. */
const HAS_VARIANTS: ReadonlySet<ColumnType["kind"]> = new Set(["text", "enum", "json", "native"]);
