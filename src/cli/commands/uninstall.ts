import type { Command } from "commander";
import pc from "picocolors";
import type { DatabaseDefinition } from "../../core/definition.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { mustConfirm } from "../confirm.ts";
import { addEndOptions, addUnusedTables, loadDefinition } from "../definition.ts";

interface UninstallOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  readonly database?: readonly string[];
}

type Statements = readonly { readonly name: string; readonly statements: readonly string[] }[];

export const uninstall: CommandModule = {
  name: "uninstall",
  summary: "remove every trigger and table of Tidemark from the databases",
  description:
    "Removes every trigger, function, table and schema of Tidemark from the databases of the config. " +
    "Your own tables and rows stay as they are; the place each sync had reached is forgotten.",
  examples: [
    "tidemark uninstall --dry-run",
    "tidemark uninstall --yes",
    "tidemark uninstall --database reports --yes",
  ],

  configure(command: Command): void {
    addEndOptions(command);
    addUnusedTables(command);
    command
      .option(
        "--database <names...>",
        "only these databases (a target alone is then copied anew, over the rows that stand)",
      )
      .option("--yes", "do not ask")
      .option("--dry-run", "print the statements and change nothing");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const { yes = false, dryRun = false, database } = invocation.options as UninstallOptions;
    const whole = await loadDefinition(invocation, { tables: "any" });
    const definition = { ...whole, databases: chosen(whole.databases, database) };
    const engine = await import("../../pipeline/uninstall.ts");
    const planned = await engine.planUninstall(definition, log.logger);
    show(invocation, planned);
    const nothing = planned.every(({ statements }) => statements.length === 0);
    if (dryRun || nothing) return output.end({ databases: planned, removed: false });
    await engine.refuseAtWork(definition, log.logger);
    if (!yes) await mustConfirm(invocation, "Run these statements?");
    const databases = await engine.uninstall(definition, log.logger);
    output.line("Removed.");
    if (database !== undefined || !engine.leavesQueue(whole)) {
      return output.end({ databases, removed: true });
    }
    const queue = log.redact(whole.queue.url);
    output.line(
      `The queue stays, with the rows it holds: ${queue} (delete it where nothing else uses it).`,
    );
    return output.end({ databases, removed: true, queue });
  },
};

function chosen(
  databases: readonly DatabaseDefinition[],
  names: readonly string[] | undefined,
): readonly DatabaseDefinition[] {
  const known = databases.map(({ name }) => name);
  const unknown = names?.find((name) => !known.includes(name));
  if (unknown !== undefined) {
    throw new TidemarkError("TM-USAGE", `No database is named "${unknown}".`, {
      fix: `Known: ${known.join(", ")}.`,
    });
  }
  return databases.filter(({ name }) => names === undefined || names.includes(name));
}

function show({ output }: Invocation, databases: Statements): void {
  for (const { name, statements } of databases) {
    output.line(pc.bold(`-- ${name}`));
    if (statements.length === 0) output.line(pc.dim("-- nothing of Tidemark's is here"));
    for (const statement of statements) output.line(`${statement.replace(/;?\s*$/, "")};`);
    output.line();
  }
}
