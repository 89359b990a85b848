// Two tables, row by row, by the rule of the matrix: exact, or what the rule of the plan makes of a value.
import { describeType } from "../../src/core/column-type.ts";
import type { TableSchema } from "../../src/core/table.ts";
import type { ColumnMapping } from "../../src/core/target.ts";
import type { Row } from "../../src/core/value.ts";
import { printOutcome } from "./crossing.ts";
import type { ReadTable } from "./mirror.ts";
import { breach, isSame } from "./rules.ts";

/** What is wrong, as a failing test shows it; empty when all is well. */
export function differences(
  schema: TableSchema,
  mappings: readonly ColumnMapping[],
  source: ReadTable,
  target: ReadTable,
): readonly string[] {
  const columns = schema.columns.flatMap(({ name, type, generated }) => {
    const mapping = mappings.find(
      ({ table, column }) => table.name === schema.name.name && column === name,
    );
    if (generated || mapping === undefined) return [];
    const places = [source.columns.indexOf(name), target.columns.indexOf(name)] as const;
    return [{ name, type, mapping, places }];
  });
  const problem = (before: Row, after: Row): string | null => {
    for (const { name, type, mapping, places } of columns) {
      const [a, b] = [before[places[0]] ?? null, after[places[1]] ?? null];
      const wrong =
        mapping.fidelity === "by-rule"
          ? breach(mapping.note ?? "", type, a, b)
          : isSame(type, a, b)
            ? null
            : "is another value";
      if (wrong !== null) {
        return `${name} ${describeType(type)} to ${mapping.targetType} ${wrong}: ${printOutcome(a)} -> ${printOutcome(b)}`;
      }
    }
    return null;
  };
  const [before, after] = [grouped(schema, source), grouped(schema, target)];
  const found: string[] = [];
  for (const id of new Set([...before.keys(), ...after.keys()])) {
    const left = [...(after.get(id) ?? [])];
    for (const row of before.get(id) ?? []) {
      const match = left.findIndex((each) => problem(row, each) === null);
      if (match >= 0) left.splice(match, 1);
      else {
        const why = left.map((each) => problem(row, each)).join("; ");
        found.push(`${schema.name.name} ${id}: ${why === "" ? "is missing at the target" : why}`);
      }
    }
    if (left.length > 0) {
      found.push(`${schema.name.name} ${id}: ${left.length} at the target alone`);
    }
  }
  return found;
}

/** By a number or text of the key, which is the same on both sides: fewer rows to compare with each. */
function grouped(schema: TableSchema, table: ReadTable): Map<string, Row[]> {
  const part = schema.columns.find(
    ({ name, type }) =>
      schema.key.includes(name) && (type.kind === "integer" || type.kind === "text"),
  );
  const place = table.columns.indexOf(part?.name ?? "");
  return Map.groupBy(table.rows, (row) => `${part?.name ?? "row"} ${row[place] ?? ""}`);
}
