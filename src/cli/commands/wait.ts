import type { Command } from "commander";
import type { Queue } from "../../core/queue.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { addEndOptions, durationOf, loadDefinition } from "../definition.ts";
import { formatDuration } from "../format.ts";
import { Interrupts } from "../interrupts.ts";

interface WaitOptions {
  readonly from?: string;
  readonly table?: readonly string[];
  readonly sync?: string;
  readonly timeout?: string;
}

export const wait: CommandModule = {
  name: "wait",
  summary: "wait until the targets have what is committed in the sources now",
  description:
    "Returns once every change that was committed in the source before the call can be read in the target. " +
    "The pipeline runs elsewhere; this only asks it, over the queue. Exit code 1 on a timeout.",
  examples: ["tidemark wait", "tidemark wait --sync 'shop->reports' --timeout 30s && run-report"],

  configure(command: Command): void {
    addEndOptions(command);
    command
      .option("--table <names...>", "with --from and --to, as `run` was given them (default: any)")
      .option("--except <names...>", "with --table, as `run` was given them")
      .option("--sync <name>", "only this sync (default: all)")
      .option("--timeout <duration>", "give up after 500ms, 30s, 5m … (default: never)");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const { from, table, sync, timeout } = invocation.options as WaitOptions;
    const timeoutMs = timeout === undefined ? undefined : durationOf(timeout);
    // Between two URLs the tables may be left out, and then it is any.
    const anyRules = from !== undefined && table === undefined;
    const definition = await loadDefinition(invocation, { tables: anyRules ? "any" : "needed" });
    const { queueToWaitWith, waitForSync } = await import("../../pipeline/wait.ts");
    const interrupts = new Interrupts();
    const { signal } = interrupts;
    const startedAt = performance.now();
    let queue: Queue | null = null;
    try {
      queue = await queueToWaitWith(definition, log.logger, { sync, timeoutMs, signal });
      if (queue === null) return output.end(null, interrupts.exitCode ?? 0);
      const spentMs = performance.now() - startedAt;
      await Promise.race([
        waitForSync(definition, queue, {
          ...{ signal, sync, anyRules, logger: log.logger },
          timeoutMs: timeoutMs === undefined ? undefined : Math.max(0, timeoutMs - spentMs),
        }),
        interrupts.requested,
      ]);
      if (interrupts.exitCode !== null) return output.end(null, interrupts.exitCode);
      const waitedMs = Math.round(performance.now() - startedAt);
      output.line(`In step after ${formatDuration(waitedMs)}.`);
      return output.end({ waitedMs });
    } finally {
      interrupts.release();
      await queue?.close();
    }
  },
};
