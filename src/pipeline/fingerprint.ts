import type { Notice } from "../core/documents.ts";
import { sha256 } from "../core/hash.ts";
import { formatTable } from "../core/table.ts";
import type { ResolvedSync, ResolvedTable } from "./resolve.ts";

/**
 * Of a function all that can be told is its text. A column that changes its type may change every value,
 * and so does another one that comes by its name; no trigger sees that.
 */
export function fingerprint({ schema, rule, columns, target }: ResolvedTable): string {
  const numbers = new Map(schema.columns.map(({ name, number }) => [name, number]));
  const sent = columns.map((name) => [name, numbers.get(name)]);
  const wanted = target.columns.map(({ name, nativeType }) => [name, nativeType]);
  const { where = null, filter = null, transform = null } = rule;
  const text = JSON.stringify([sent, wanted, where, String(filter), String(transform)]);
  return sha256(text).slice(0, 16);
}

/** Of all tables of a sync: see {@link Notice.fingerprint}. */
export function fingerprintOfAll({ tables }: ResolvedSync): string {
  const each = tables.map((table) => {
    const names = [table.schema.name, table.target.name].map(formatTable);
    return `${names.join(" ")} ${fingerprint(table)}`;
  });
  return sha256(...each.sort()).slice(0, 16);
}
