import { writeSync } from "node:fs";
import { type Command, Option } from "commander";
import type { PipelineDefinition } from "../../core/definition.ts";
import { TidemarkError } from "../../core/errors.ts";
import { armFailpoint } from "../../core/failpoint.ts";
import type { Pipeline } from "../../pipeline/pipeline.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { addPairOptions, loadDefinition } from "../definition.ts";
import { Interrupts } from "../interrupts.ts";
import { boundYoungGeneration, collectLessOften } from "../memory.ts";
import { openRunView } from "../open-run-view.ts";
import type { Output } from "../output.ts";
import type { RunView } from "../run-view.ts";
import { watchStatus } from "../watch-status.ts";

interface RunOptions {
  readonly role?: "relay" | "applier";
  readonly database?: readonly string[];
  readonly untilSynced?: boolean;
}

export const run: CommandModule = {
  name: "run",
  summary: "run the pipeline: copy what is there, then follow every change",
  description:
    "Runs the pipeline until Ctrl-C: installs capture in the sources, creates the tables that targets lack, " +
    "copies what is there, then follows every change. Started again, it goes on where it was.",
  examples: [
    "tidemark run",
    "tidemark run --from env:SHOP_URL --to sqlite:./copy.db --table 'public.*'",
    "tidemark run --until-synced          # end with 0 once every target has what the source had",
    "tidemark run --role applier --database reports",
  ],

  whenUnread: "work on",

  configure(command: Command): void {
    addPairOptions(command);
    command
      .addOption(
        new Option("--role <role>", "only one half: source to queue, or queue to target").choices([
          "relay",
          "applier",
        ]),
      )
      .option("--database <names...>", "only these sources (relay) and targets (applier)")
      .option("--until-synced", "end once every target has what its source had at the start");
  },

  async run(invocation: Invocation): Promise<number> {
    const options = invocation.options as RunOptions;
    const definition = await loadDefinition(invocation);
    mustKnow(options.database ?? [], definition);
    armForTests();
    boundYoungGeneration();
    collectLessOften();
    const { Pipeline } = await import("../../pipeline/pipeline.ts");
    const interrupts = new Interrupts();
    const pipeline = await Pipeline.open(definition, {
      logger: invocation.log.logger,
      ...(options.role && { role: options.role }),
      ...(options.database && { databases: options.database }),
      ...(options.untilSynced && { mustOpenAll: true }),
    });
    const view = await openRunView(invocation);
    try {
      const { output } = invocation;
      const untilSynced = options.untilSynced ?? false;
      const synced = await follow(pipeline, { view, output }, interrupts, untilSynced);
      return output.end({ synced }, synced ? 0 : (interrupts.exitCode ?? 0));
    } finally {
      view.close();
      interrupts.release();
    }
  },
};

function mustKnow(names: readonly string[], { databases }: PipelineDefinition): void {
  const known = databases.map(({ name }) => name);
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  throw new TidemarkError("TM-USAGE", `No database is named "${unknown}".`, {
    fix: `Known: ${known.join(", ")}.`,
  });
}

/** Ends as a power cut would end it: nothing is closed, nothing is said any more but where. */
function armForTests(): void {
  const spec = process.env.TIDEMARK_FAILPOINT;
  if (spec === undefined) return;
  armFailpoint(spec, () => {
    writeSync(process.stderr.fd, `failpoint ${spec} reached\n`);
    process.kill(process.pid, "SIGKILL");
  });
}

/** Runs until a signal, the goal of --until-synced, or an error that stopped a sync for good (thrown). True: synced. */
async function follow(
  pipeline: Pipeline,
  { view, output }: { readonly view: RunView; readonly output: Output },
  interrupts: Interrupts,
  untilSynced: boolean,
): Promise<boolean> {
  const ended = new AbortController();
  let display: Promise<void> = Promise.resolve();
  let synced = false;
  try {
    await Promise.race([pipeline.start(), interrupts.requested]);
    if (interrupts.exitCode !== null) return false;
    display = watchStatus(() => pipeline.status(), view, ended.signal, {
      output,
      live: output.live,
    });
    const goal = untilSynced
      ? pipeline.waitFor({ sync: pipeline.ownSyncs, signal: interrupts.signal }).then(() => {
          synced = interrupts.exitCode === null;
        })
      : interrupts.requested;
    await Promise.race([goal, interrupts.requested, pipeline.finished, display]);
    if (synced) view.update(await pipeline.status());
    return synced;
  } finally {
    ended.abort();
    await display;
    if (interrupts.exitCode !== null) view.note("Stopping. Press Ctrl-C once more to end at once.");
    await pipeline.stop();
    if (synced) view.note("Every target has what its source had at the start.");
  }
}
