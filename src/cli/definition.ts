import { readFile, stat } from "node:fs/promises";
import { type Command, Option } from "commander";
import type { Pair } from "../config/define-pair.ts";
import { parseDuration } from "../config/units.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import { redactUrl } from "../core/secrets.ts";
import type { Invocation } from "./command-module.ts";

/** Options that describe one source and one target without a config. */
interface PairOptions {
  readonly from?: string;
  readonly to?: string;
  readonly table?: readonly string[];
  readonly except?: readonly string[];
  readonly queue?: string;
}

/** Declares them, for a verb that needs to know the tables. */
export function addPairOptions(command: Command): void {
  addEndOptions(command);
  command
    .option("--table <names...>", "tables or globs to sync, with --from and --to")
    .option("--except <names...>", "tables or globs that the globs of --table leave out");
}

/** Declares them, for a verb that only needs to know the databases and the queue. */
export function addEndOptions(command: Command): void {
  command
    .option("--from <url>", "source, instead of a config: a URL, or env:NAME to read it from there")
    .option("--to <url>", "target, instead of a config")
    .option(
      "--queue <url>",
      "queue, with --from and --to (default: one of their own under ./.tidemark)",
    );
}

/** Takes the tables and does nothing with them, so that the arguments of `run` fit a verb that needs none, too. */
export function addUnusedTables(command: Command): void {
  for (const option of ["--table <names...>", "--except <names...>"]) {
    command.addOption(new Option(option).hideHelp());
  }
}

/** The pipeline a command works on, from --from and --to or from the config. From here on the log hides its passwords. */
export async function loadDefinition(
  invocation: Invocation,
  options: { readonly tables?: "needed" | "any" } = {},
): Promise<PipelineDefinition> {
  const pair = invocation.options as PairOptions;
  const anyTable = options.tables === "any";
  const definition = hasPair(pair, anyTable)
    ? await definitionOf(
        pairOf(anyTable ? { ...pair, table: ["*"], except: [] } : pair, invocation),
      )
    : (await loadFromFile(invocation)).definition;
  const names = definition.databases.map(({ name }) => name);
  invocation.log.hide(urlsOf(definition), names);
  return definition;
}

async function definitionOf(pair: Pair): Promise<PipelineDefinition> {
  const { definePair } = await import("../config/define-pair.ts");
  return definePair(pair, process.cwd(), process.env);
}

async function loadFromFile(invocation: Invocation) {
  const { loadConfig } = await import("../config/load-config.ts");
  const loaded = await loadConfig({
    library: () => import("../index.ts"),
    ...(invocation.configFile !== undefined && { file: invocation.configFile }),
  });
  await warnOfExposedSecrets(loaded.file, urlsOf(loaded.definition), invocation);
  return loaded;
}

/** A password written into a file that others may read is worth a word each time. */
async function warnOfExposedSecrets(
  file: string,
  urls: readonly string[],
  { output }: Invocation,
): Promise<void> {
  const othersMayRead = ((await stat(file)).mode & 0o077) !== 0;
  if (process.platform === "win32" || !othersMayRead) return;
  const text = await readFile(file, "utf8");
  const isWritten = urls.some((url) => redactUrl(url) !== url && text.includes(url));
  if (!isWritten) return;
  output.warn(
    `${file} holds a password and may be read by others: chmod 600 it, or keep the URL in the environment.`,
  );
}

/** Milliseconds. Throws TM-USAGE. */
export function durationOf(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null) return ms;
  throw new TidemarkError("TM-USAGE", `"${text}" is not a duration.`, {
    fix: "Write a number with its unit: --timeout 500ms, 30s, 5m or 1h",
  });
}

function hasPair({ from, to, queue, table, except }: PairOptions, anyTable: boolean): boolean {
  return [from, to, queue, ...(anyTable ? [] : [table, except])].some((each) => each !== undefined);
}

function pairOf(options: PairOptions, { configFile }: Invocation): Pair {
  const { from, to, table = [], except = [], queue } = options;
  if (configFile !== undefined) {
    throw new TidemarkError("TM-USAGE", "--config and --from/--to/--table cannot stand together.", {
      fix: "Leave out one: a config names its databases and tables itself.",
    });
  }
  if (from === undefined || to === undefined) {
    throw new TidemarkError("TM-USAGE", "Without a config, --from and --to are both needed.", {
      fix: "tidemark run --from URL --to URL --table 'public.*'",
    });
  }
  return { from, to, tables: table, except, ...(queue !== undefined && { queue }) };
}

function urlsOf(definition: PipelineDefinition): string[] {
  const databases = definition.databases.flatMap((each) => ("url" in each ? [each.url] : []));
  return [...databases, definition.queue.url];
}
