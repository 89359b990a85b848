import pc from "picocolors";
import { TidemarkError } from "../../core/errors.ts";
import { formatTable as tableName } from "../../core/table.ts";
import { lackError } from "../../pipeline/lacks.ts";
import type { PipelinePlan } from "../../pipeline/plan.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { addPairOptions, loadDefinition } from "../definition.ts";
import { formatCounted, formatTable, oneLine } from "../format.ts";

export const plan: CommandModule = {
  name: "plan",
  summary: "print what run would do: every statement, every copy and how each column travels",
  description:
    "Prints every statement that `run` would execute, which tables it would copy and why, and how each column travels; " +
    "changes nothing. " +
    "Exit code 2 when a column is refused, 3 when a right is missing.",
  examples: ["tidemark plan", "tidemark plan --json | jq '.result.mappings[]'"],

  configure: addPairOptions,

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const definition = await loadDefinition(invocation);
    const { makePlan } = await import("../../pipeline/plan.ts");
    const made = await makePlan(definition, log.logger);
    for (const database of made.databases) showDatabase(invocation, database);
    showMappings(invocation, made);
    const error = made.refused > 0 ? refusal(made) : lackError(made.lacks);
    return error === null ? output.end(made) : output.fail(error, { result: made });
  },
};

function refusal({ refused }: PipelinePlan): TidemarkError {
  const columns = `${formatCounted(refused, "column")} ${refused === 1 ? "is" : "are"}`;
  return new TidemarkError("TM-COLUMN-UNFIT", `${columns} refused: \`run\` would not start.`, {
    fix: "Do at the target what the column's note says, or leave the column out of the sync with `except`.",
  });
}

function showDatabase(
  { output }: Invocation,
  { name, kind, statements, notes }: PipelinePlan["databases"][number],
): void {
  output.result(pc.bold(`-- ${name} (${kind})`));
  for (const note of notes) output.result(pc.dim(`-- ${oneLine(note)}`));
  if (statements.length === 0) output.result(pc.dim("-- nothing to do"));
  for (const statement of statements) output.result(`${statement.replace(/;?\s*$/, "")};`);
  output.result("");
}

function showMappings({ output }: Invocation, { mappings }: PipelinePlan): void {
  if (mappings.length === 0) return;
  const rows = mappings.map(({ sync, table, column, sourceType, targetType, fidelity, note }) => [
    sync,
    `${tableName(table)}.${column}`,
    sourceType,
    targetType,
    fidelity,
    note ?? "",
  ]);
  const [head = "", ...lines] = formatTable([
    ["SYNC", "COLUMN", "SOURCE TYPE", "TARGET TYPE", "TRAVELS", "NOTE"],
    ...rows,
  ]).split("\n");
  output.result(pc.bold(head));
  for (const [index, line] of lines.entries()) {
    output.result(mappings[index]?.fidelity === "refused" ? pc.red(line) : line);
  }
}
