import type { Command } from "commander";
import type { Resynced } from "../../pipeline/resync.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { mustConfirm } from "../confirm.ts";
import { addPairOptions, durationOf, loadDefinition } from "../definition.ts";

interface ResyncOptions {
  readonly sync?: string;
  readonly yes?: boolean;
  readonly timeout?: string;
}

export const resync: CommandModule = {
  name: "resync",
  summary: "empty tables at their targets and copy them anew, while all else goes on",
  description:
    "Empties the tables at their targets, in one transaction for each sync, and has them copied anew: by the " +
    "`tidemark run` that is at work, else by the next. Mends a table that was edited at the target, truncated at " +
    "the source unseen, or whose capture was broken. Until the copy is complete, readers of the target see it fill. " +
    "Name the tables that refer to a table along with it. Of all tables of a sync, it also forgets the history that " +
    "the sync followed: one for which the log was cut too early, or whose source was made anew, begins again.",
  examples: [
    "tidemark resync orders",
    "tidemark resync public.orders public.order_lines --sync 'shop->reports' --yes",
    "tidemark resync '*' --sync 'shop->reports'",
    "tidemark resync orders --from env:SHOP_URL --to sqlite:./copy.db --table 'public.*'",
  ],

  configure(command: Command): void {
    addPairOptions(command);
    command
      .argument("<tables...>", "as they are named at the source, or globs")
      .option("--sync <name>", "only at the target of this sync (default: all that have the table)")
      .option("--yes", "do not ask")
      .option("--timeout <duration>", "wait so long for an applier at work", "10m");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const { sync, yes = false, timeout = "10m" } = invocation.options as ResyncOptions;
    const [tables] = invocation.operands as [string[]];
    const definition = await loadDefinition(invocation);
    const timeoutMs = durationOf(timeout);
    const { planResync } = await import("../../pipeline/resync.ts");
    const plan = await planResync(definition, { tables, sync, logger: log.logger });
    for (const each of plan.syncs) output.line(describe(each));
    for (const each of plan.never) output.line(describeNever(each));
    if (plan.syncs.length > 0 && !yes) await mustConfirm(invocation, "Empty these tables?");
    const { openStanding } = await import("../../pipeline/queue.ts");
    const queue = await openStanding(definition.queue, log.logger);
    try {
      await plan.run(queue, timeoutMs);
    } finally {
      await queue?.close();
    }
    if (plan.syncs.length > 0)
      output.line("Emptied. They are copied anew by the run that is at work, or by the next.");
    return output.end({ resynced: plan.syncs, never: plan.never });
  },
};

function describe({ sync, tables }: Resynced): string {
  return `${sync}: empties ${tables.join(", ")} at the target, and copies anew`;
}

function describeNever({ sync, tables }: Resynced): string {
  return `${sync}: no copy of ${tables.join(", ")} at the target: nothing to empty. \`tidemark run\` makes it`;
}
