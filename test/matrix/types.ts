// What a list of a database's types holds (postgres-types.ts and its like).

export interface TypeEntry {
  /** Heading under which the type stands in docs/reference/types.md. */
  readonly group: string;
  /** As in CREATE TABLE. */
  readonly declared: string;
  /** Statements that make the type: at the source, and at a target of the same kind. */
  readonly before?: readonly string[];
  readonly values: readonly TypeValue[];
}

/**
 * A value as SQL spells it. One that some target cannot take has a name, which stands in the docs:
 * "stops at: infinity".
 */
export type TypeValue = string | readonly [sql: string, name: string];

export function sqlOf(value: TypeValue): string {
  return typeof value === "string" ? value : value[0];
}

export function nameOf(value: TypeValue): string | null {
  return typeof value === "string" ? null : value[1];
}

/** Entries of one group. */
export function group(
  name: string,
  types: Readonly<Record<string, readonly TypeValue[]>>,
): readonly TypeEntry[] {
  return Object.entries(types).map(([declared, values]) => ({ group: name, declared, values }));
}
