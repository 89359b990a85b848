import type { Command } from "commander";
import pc from "picocolors";
import { mayMeet } from "../../config/patterns.ts";
import type { RowObject } from "../../core/definition.ts";
import type { Queue } from "../../core/queue.ts";
import type { TailEntry } from "../../pipeline/tail.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { addEndOptions, loadDefinition } from "../definition.ts";
import { Interrupts } from "../interrupts.ts";

interface TailOptions {
  readonly source?: string;
  readonly table?: readonly string[];
  readonly fromStart?: boolean;
}

export const tail: CommandModule = {
  name: "tail",
  summary: "print the changes that pass through the queue",
  description:
    "Prints every change that passes through the queue, until Ctrl-C. Takes nothing away from anyone.",
  examples: [
    "tidemark tail",
    "tidemark tail --source shop --table public.orders --from-start",
    "tidemark tail --json | jq .row",
  ],

  whenUnread: "enough",

  configure(command: Command): void {
    addEndOptions(command);
    command
      .option("--source <name>", "only changes of this source")
      .option("--table <names...>", "only changes of these tables; globs allowed")
      .option("--from-start", "begin with the oldest change the queue still holds");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const options = invocation.options as TailOptions;
    const definition = await loadDefinition(invocation, { tables: "any" });
    const { awaitQueue } = await import("../../pipeline/queue.ts");
    const { sourcesToRead, tail: readTail } = await import("../../pipeline/tail.ts");
    sourcesToRead(definition, options.source);
    const interrupts = new Interrupts();
    let isNew = false;
    const onWait = () => {
      isNew = true;
      output.warn("there is no queue yet: waiting until tidemark run makes it");
    };
    let queue: Queue | null = null;
    try {
      const { signal } = interrupts;
      queue = await awaitQueue(definition.queue, log.logger, { signal, onWait });
      if (queue === null) return output.end(null, interrupts.exitCode ?? 0);
      const entries = readTail(definition, queue, {
        signal,
        // All that one holds which came while it was waited for is from now on.
        fromStart: isNew || options.fromStart === true,
        onGap: (gap) => {
          output.event("gap", gap);
          const batches =
            gap.from === gap.to
              ? `batch ${gap.from} of ${gap.source} is`
              : `batches ${gap.from} to ${gap.to} of ${gap.source} are`;
          output.warn(`${batches} gone from the queue and not shown`);
        },
        ...(options.source !== undefined && { source: options.source }),
      });
      for await (const entry of entries) {
        if (!isWanted(entry, options.table)) continue;
        output.event("change", entry);
        output.result(describe(entry));
        await output.caughtUp(signal);
      }
      return output.end(null, interrupts.exitCode ?? 0);
    } finally {
      interrupts.release();
      await queue?.close();
    }
  },
};

function isWanted({ table }: TailEntry, patterns: readonly string[] | undefined): boolean {
  return patterns === undefined || patterns.some((pattern) => mayMeet(table, pattern));
}

const COLORS: Readonly<Record<string, (text: string) => string>> = {
  insert: pc.green,
  update: pc.yellow,
  delete: pc.red,
  truncate: pc.red,
};

function describe(entry: TailEntry): string {
  const color = COLORS[entry.op] ?? pc.cyan;
  const where = pc.dim(`${entry.committedAt} ${entry.source} ${entry.batch}`);
  const parts = [where, color(entry.op.padEnd(8)), pc.bold(entry.table)];
  if (entry.key !== null) parts.push(pc.dim(describeRow(entry.key)));
  if (entry.row !== null) parts.push(describeRow(entry.row));
  return parts.join("  ");
}

/** `id=7 name="Ada Lovelace" note=NULL`. */
function describeRow(row: RowObject): string {
  return Object.entries(row)
    .map(([name, value]) => `${name}=${describeValue(value)}`)
    .join(" ");
}

function describeValue(value: string | null): string {
  if (value === null) return "NULL";
  return /^[\w.:+-]+$/.test(value) ? value : JSON.stringify(value);
}
