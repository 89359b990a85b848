import { randomUUID } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import type { Command } from "commander";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { shellWord } from "../../core/shell.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import type { Problem } from "../init-questions.ts";
import { holdsPassword, isReference, renderConfig, type SyncAnswers } from "../render-config.ts";
import { isFull } from "../stdout.ts";

interface InitOptions {
  readonly from?: string;
  readonly to?: string;
  readonly table?: readonly string[];
  readonly except?: readonly string[];
  readonly queue?: string;
  readonly force?: boolean;
}

export const init: CommandModule = {
  name: "init",
  summary: "write a config: asks, or takes flags",
  description:
    "Writes tidemark.yaml (or --config FILE) with one sync to start from. Connects to nothing.",
  examples: [
    "tidemark init",
    "tidemark init --from env:SHOP_URL --to sqlite:./copy.db --table 'public.*'",
  ],

  configure(command: Command): void {
    command
      .option("--from <url>", "source: a URL, or env:NAME to leave it in the environment")
      .option("--to <url>", "target")
      .option("--table <names...>", "tables or globs to sync")
      .option("--except <names...>", "tables or globs that the globs of --table leave out")
      .option("--queue <url>", "queue (default: sqlite:./.tidemark/queue.db)")
      .option("--force", "overwrite an existing file");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output } = invocation;
    const options = invocation.options as InitOptions;
    const file = resolve(invocation.configFile ?? "tidemark.yaml");
    mustBeFit(file);
    const force = options.force ?? false;
    if (!force && existsSync(file)) throw exists(file);
    const { loadConfigText } = await import("../../config/load-config.ts");
    const { databaseAdapterFor, queueAdapterFor } = await import("../../pipeline/registry.ts");
    const check = (answers: SyncAnswers): string => {
      const text = renderConfig(answers);
      mustLoad(() => loadConfigText(file, text));
      const { from, to, queue = "" } = answers;
      for (const url of [from, to]) if (!isReference(url)) databaseAdapterFor(url);
      if (queue !== "" && !isReference(queue)) queueAdapterFor(queue);
      return text;
    };
    const answers = await answersOf(invocation, options, (some) => problemIn(() => check(some)));
    const text = check(answers);
    const secret = holdsPassword(answers);
    const mode = secret ? 0o600 : 0o644;
    await write(file, text, { mode, force });
    output.line(`Wrote ${file}.`);
    if (secret) {
      output.warn(
        `${file} holds a password (its mode is 0600). Better: keep the URL in the environment and ` +
          `write \${SOURCE_URL} in its place.`,
      );
    }
    const given = invocation.configFile;
    const config = given === undefined ? "" : ` --config ${shellWord(given)}`;
    output.line(
      `\nNext:\n  tidemark doctor${config}    checks rights and settings\n  tidemark plan${config}      shows what would be done\n  tidemark run${config}`,
    );
    return output.end({ file, holdsPassword: secret });
  },
};

/** Before anything is asked. Under another ending no command would take it. */
function mustBeFit(file: string): void {
  const refuse = (message: string, fix: string) => {
    throw new TidemarkError("TM-USAGE", message, { fix, details: { file } });
  };
  if (isFolder(file)) refuse(`${file} is a folder.`, "Name a file in it: --config …/tidemark.yaml");
  if (![".yaml", ".yml"].includes(extname(file).toLowerCase())) {
    refuse(`init writes YAML, and ${basename(file)} has another ending.`, "Name it .yaml or .yml.");
  }
  const folder = dirname(file);
  if (!isFolder(folder)) refuse(`There is no folder ${folder}.`, `mkdir -p ${shellWord(folder)}`);
}

function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

function exists(file: string): TidemarkError {
  return new TidemarkError("TM-USAGE", `${file} exists already.`, {
    fix: "Edit it, give another name with --config, or overwrite it with --force.",
    details: { file },
  });
}

/**
 * Whole or not at all: what stood there before stays where there is no room for it. A file of its own, since an existing one
 * would keep its mode, and a password must not stand in it for a moment.
 */
async function write(
  file: string,
  text: string,
  { mode, force }: { readonly mode: number; readonly force: boolean },
): Promise<void> {
  const draft = join(dirname(file), `.${basename(file)}.${randomUUID()}`);
  try {
    await writeFile(draft, text, { mode, flag: "wx" });
    // While it was asked for, somebody may have made one.
    if (!force && existsSync(file)) throw exists(file);
    await rename(draft, file);
  } catch (error) {
    throw isTidemarkError(error) ? error : unwritten(file, error as NodeJS.ErrnoException);
  } finally {
    await rm(draft, { force: true });
  }
}

function unwritten(file: string, cause: NodeJS.ErrnoException): TidemarkError {
  const [code, fix] = isFull(cause)
    ? (["TM-DISK-FULL", "Free space there, or name another file with --config."] as const)
    : (["TM-USAGE", "Name a file in a folder that you may write, with --config."] as const);
  const message = `${file} cannot be written: ${cause.message}.`;
  return new TidemarkError(code, message, { fix, details: { file }, cause });
}

async function answersOf(
  { output }: Invocation,
  options: InitOptions,
  problem: Problem,
): Promise<SyncAnswers> {
  const { from, to, table = [], except, queue } = options;
  if (from !== undefined && to !== undefined && table.length > 0) {
    return {
      from,
      to,
      tables: table,
      ...(except && { except }),
      ...(queue !== undefined && { queue }),
    };
  }
  if (process.stdin.isTTY && process.stdout.isTTY && !output.json) {
    const { askForSync } = await import("../init-questions.ts");
    return askForSync(options, problem);
  }
  throw new TidemarkError(
    "TM-USAGE",
    "Without a terminal to ask on, --from, --to and --table are needed.",
    {
      fix: "tidemark init --from URL --to URL --table 'public.*'",
    },
  );
}

/** What is written must load; only an environment variable may still be unset. */
function mustLoad(load: () => unknown): void {
  try {
    load();
  } catch (error) {
    if (!isTidemarkError(error, "TM-CONFIG-ENV-MISSING")) throw error;
  }
}

/** Without the place in a file that is still to be written. */
function problemIn(check: () => unknown): string | undefined {
  try {
    check();
    return undefined;
  } catch (error) {
    if (!isTidemarkError(error)) throw error;
    return error.message
      .split("\n", 1)
      .join("")
      .replace(/^[^\s:]+(:\d+)?: /, "");
  }
}
