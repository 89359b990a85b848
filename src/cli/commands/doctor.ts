import pc from "picocolors";
import type { Finding } from "../../core/database.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { addPairOptions, loadDefinition } from "../definition.ts";
import { formatCounted } from "../format.ts";

const MARKS: Readonly<Record<Finding["severity"], string>> = {
  ok: pc.green("✓"),
  warning: pc.yellow("!"),
  error: pc.red("✗"),
};

export const doctor: CommandModule = {
  name: "doctor",
  summary: "check every precondition; print the exact fix of each finding",
  description:
    "Checks rights, settings, tables and capture of every database, and prints the exact statement or " +
    "setting that mends each finding; changes nothing in them. Exit code 1 when there is an error.",
  examples: [
    "tidemark doctor",
    "tidemark doctor --from env:SHOP_URL --to sqlite:copy.db --table 'public.*'",
  ],

  configure: addPairOptions,

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const definition = await loadDefinition(invocation);
    const { diagnose } = await import("../../pipeline/diagnose.ts");
    const databases = await diagnose(definition, log.logger);
    for (const { database, findings } of databases) {
      output.result(pc.bold(database));
      for (const finding of findings) showFinding(invocation, finding);
      if (findings.length === 0) output.result(`  ${MARKS.ok} nothing to mend`);
      output.result("");
    }
    const all = databases.flatMap(({ findings }) => findings);
    const errors = all.filter(({ severity }) => severity === "error").length;
    const warnings = all.filter(({ severity }) => severity === "warning").length;
    output.result(summary(errors, warnings));
    return output.end({ databases, errors, warnings }, errors > 0 ? 1 : 0);
  },
};

function showFinding({ output }: Invocation, { severity, check, message, fix }: Finding): void {
  output.result(`  ${MARKS[severity]} ${message} ${pc.dim(`(${check})`)}`);
  if (fix !== undefined)
    output.result(`    ${pc.bold("fix:")} ${fix.replaceAll("\n", "\n         ")}`);
}

function summary(errors: number, warnings: number): string {
  if (errors + warnings === 0) return pc.green("All is well.");
  return `${formatCounted(errors, "error")}, ${formatCounted(warnings, "warning")}.`;
}
