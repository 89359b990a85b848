import type { Command } from "commander";
import type { Queue } from "../../core/queue.ts";
import type { PipelineStatus } from "../../pipeline/status.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { addEndOptions, addUnusedTables, loadDefinition } from "../definition.ts";
import { describeStatus } from "../describe-status.ts";
import { Interrupts } from "../interrupts.ts";
import { watchStatus } from "../watch-status.ts";

interface StatusOptions {
  readonly watch?: boolean;
}

export const status: CommandModule = {
  name: "status",
  summary: "show how far every source and sync is",
  description:
    "Shows how far every source and sync is, read from the queue: works on any machine that reaches it, " +
    "whether or not the pipeline runs there.",
  examples: ["tidemark status", "tidemark status --watch", "tidemark status --json"],

  configure(command: Command): void {
    addEndOptions(command);
    addUnusedTables(command);
    command.option("--watch", "go on showing it until Ctrl-C");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const definition = await loadDefinition(invocation, { tables: "any" });
    const { openStanding } = await import("../../pipeline/queue.ts");
    const { readStatus } = await import("../../pipeline/status.ts");
    let queue: Queue | null = null;
    const read = async () => {
      queue ??= await openStanding(definition.queue, log.logger);
      return readStatus(definition, queue);
    };
    try {
      if ((invocation.options as StatusOptions).watch) return await watch(invocation, read);
      const now = await read();
      output.result(describeStatus(now));
      return output.end(now);
    } finally {
      await (queue as Queue | null)?.close();
    }
  },
};

async function watch({ output }: Invocation, read: () => Promise<PipelineStatus>): Promise<number> {
  const interrupts = new Interrupts();
  const screen = output.live
    ? (await import("log-update")).createLogUpdate(process.stdout, { showCursor: true })
    : null;
  const view = {
    update(now: PipelineStatus): void {
      output.event("status", { status: now });
      if (screen !== null) screen(describeStatus(now));
      else output.result(`${describeStatus(now)}\n`);
    },
  };
  try {
    await watchStatus(read, view, interrupts.signal, { output, everyMs: 1000 });
    return output.end(null, interrupts.exitCode ?? 0);
  } finally {
    screen?.done();
    interrupts.release();
  }
}
