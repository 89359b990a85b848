import type { Command } from "commander";
import type { PipelineDefinition } from "../../core/definition.ts";
import type { ParkedAnswer } from "../../core/documents.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { ParkedEntry } from "../../core/parked.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { mustConfirm } from "../confirm.ts";
import { addEndOptions, addUnusedTables, durationOf, loadDefinition } from "../definition.ts";
import { formatAge, formatCounted, formatTable } from "../format.ts";

const ACTIONS = ["list", "show", "retry", "drop"] as const;
type Action = (typeof ACTIONS)[number];

interface ParkedOptions {
  readonly sync?: string;
  readonly all?: boolean;
  readonly yes?: boolean;
  readonly timeout?: string;
}

const HEAD = ["ID", "SYNC", "TABLE", "KEY", "SINCE", "CHANGES", "WHY"];

export const parked: CommandModule = {
  name: "parked",
  summary: "show rows that were set aside (onError: park), try them again or forget them",
  description:
    "Rows for which `where`, `filter` or `transform` failed and the config says onError: park. " +
    "list shows them, show prints one with its values, retry has the running applier try again, " +
    "drop forgets: the target then keeps what it has until the row changes again.",
  examples: [
    "tidemark parked list",
    "tidemark parked show 1f0c9a7e5b3d2468",
    "tidemark parked retry --all",
    "tidemark parked drop 1f0c9a7e5b3d2468",
  ],

  configure(command: Command): void {
    addEndOptions(command);
    addUnusedTables(command);
    command
      .argument("<action>", ACTIONS.join(", "))
      .argument("[ids...]", "of the rows, as list shows them")
      .option("--sync <name>", "only of this sync (default: all)")
      .option("--all", "with retry and drop: every row")
      .option("--yes", "with drop --all: do not ask")
      .option("--timeout <duration>", "with retry and drop: wait so long for the applier", "30s");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const { sync, all = false } = invocation.options as ParkedOptions;
    const [action, ids] = readArguments(invocation.operands, all);
    const definition = await loadDefinition(invocation, { tables: "any" });
    const { listParked, readParked } = await import("../../pipeline/parked.ts");
    const standing = (await listParked(definition, log.logger)).filter(
      (entry) => sync === undefined || entry.sync === sync,
    );
    const chosen = ids === null ? standing : standing.filter(({ id }) => ids.includes(id));
    if (action === "list") {
      output.result(describe(standing));
      return output.end({ parked: standing });
    }
    mustStand(ids ?? [], chosen);
    if (action === "show") {
      const rows = await Promise.all(
        chosen.map((entry) => readParked(definition, log.logger, entry)),
      );
      for (const row of rows) output.result(JSON.stringify(row, null, 2));
      return output.end({ parked: rows });
    }
    const answer = await order(invocation, definition, { action, chosen });
    output.line(`${action === "retry" ? "Applied" : "Dropped"}: ${answer.done.length}.`);
    for (const { id, message } of answer.failed) output.warn(`${id} stays parked: ${message}`);
    return output.end({ action, ...answer }, answer.failed.length === 0 ? 0 : 1);
  },
};

/** One order for each sync. */
async function order(
  invocation: Invocation,
  definition: PipelineDefinition,
  {
    action,
    chosen,
  }: { readonly action: "retry" | "drop"; readonly chosen: readonly ParkedEntry[] },
): Promise<ParkedAnswer> {
  const { all = false, yes = false, timeout = "30s" } = invocation.options as ParkedOptions;
  const { logger } = invocation.log;
  const timeoutMs = durationOf(timeout);
  if (action === "drop" && all && !yes) {
    await mustConfirm(invocation, `Forget ${formatCounted(chosen.length, "row")}?`);
  }
  const { openStanding } = await import("../../pipeline/queue.ts");
  const { orderParked } = await import("../../pipeline/parked.ts");
  const queue = await openStanding(definition.queue, logger);
  const answers: ParkedAnswer[] = [];
  try {
    for (const sync of new Set(chosen.map((entry) => entry.sync))) {
      const ids = chosen.filter((entry) => entry.sync === sync).map(({ id }) => id);
      answers.push(await orderParked(definition, queue, { sync, action, ids, timeoutMs, logger }));
    }
  } finally {
    await queue?.close();
  }
  return {
    done: answers.flatMap(({ done }) => done),
    failed: answers.flatMap(({ failed }) => failed),
    missing: answers.flatMap(({ missing }) => missing),
  };
}

function readArguments(
  operands: readonly unknown[],
  all: boolean,
): [action: Action, ids: readonly string[] | null] {
  const [given, ids] = operands as [string, string[]];
  const action = ACTIONS.find((name) => name === given);
  if (action === undefined) {
    throw new TidemarkError("TM-USAGE", `parked has no action "${given}".`, {
      fix: `tidemark parked ${ACTIONS.join("|")}`,
    });
  }
  if (action === "list" || (all && action !== "show")) return [action, null];
  if (ids.length > 0) return [action, ids];
  throw new TidemarkError("TM-USAGE", `Which rows? tidemark parked ${action} needs ids.`, {
    fix: `tidemark parked list; then tidemark parked ${action} ID${action === "show" ? "" : " (or --all)"}`,
  });
}

function mustStand(ids: readonly string[], chosen: readonly ParkedEntry[]): void {
  const missing = ids.filter((id) => !chosen.some((entry) => entry.id === id));
  if (missing.length === 0) return;
  throw new TidemarkError("TM-USAGE", `Nothing is parked under ${missing.join(", ")}.`, {
    fix: "tidemark parked list",
  });
}

function describe(entries: readonly ParkedEntry[]): string {
  if (entries.length === 0) return "Nothing is parked.";
  const now = Date.now();
  const rows = entries.map(({ id, sync, table, key, parkedAt, changes, code, message }) => [
    ...[id, sync, table, key, formatAge(parkedAt, now), String(changes), `${code}  ${message}`],
  ]);
  return formatTable([HEAD, ...rows]);
}
