import type { SyncDefinition, TableRule } from "./definition.ts";
import { sha256 } from "./hash.ts";

/**
 * Tells apart what configs say of a sync: which tables, and how each arrives. The same for the same rules in
 * another order. Of a function all that can be told is its text.
 */
export function rulesPrint({
  tables,
  except = [],
}: Pick<SyncDefinition, "tables" | "except">): string {
  const left = except.map((each) => JSON.stringify(["except", each]));
  return sha256(...tables.map(ruleText).sort(), ...left.sort()).slice(0, 16);
}

function ruleText(rule: TableRule): string {
  const parts = Object.entries(rule).filter(([, value]) => value !== undefined);
  const sorted = parts.sort(([one], [other]) => (one < other ? -1 : 1));
  return JSON.stringify(sorted, (_, value) =>
    typeof value === "function" ? String(value) : (value as unknown),
  );
}
