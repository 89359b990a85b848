import { existsSync, statSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { basename, dirname, extname, resolve } from "node:path";
import type { Command } from "commander";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { shellWord } from "../../core/shell.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import type { Problem } from "../init-questions.ts";
import { holdsPassword, renderConfig, type SyncAnswers } from "../render-config.ts";

interface InitOptions {
  readonly from?: string;
  readonly to?: string;
  readonly table?: readonly string[];
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
      .option("--queue <url>", "queue (default: sqlite:./.tidemark/queue.db)")
      .option("--force", "overwrite an existing file");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output } = invocation;
    const options = invocation.options as InitOptions;
    const file = resolve(invocation.configFile ?? "tidemark.yaml");
    mustBeFit(file);
    mustBeFree(file, options.force ?? false);
    const { loadConfigText } = await import("../../config/load-config.ts");
    const check = (answers: SyncAnswers): string => {
      const text = renderConfig(answers);
      mustLoad(() => loadConfigText(file, text));
      return text;
    };
    const answers = await answersOf(invocation, options, (some) => problemIn(() => check(some)));
    const text = check(answers);
    const secret = holdsPassword(answers);
    const mode = secret ? 0o600 : 0o644;
    // An existing file would keep its mode: a password must not stand in it for a moment.
    await rm(file, { force: true });
    await writeFile(file, text, { mode, flag: "wx" });
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

function mustBeFree(file: string, force: boolean): void {
  if (force || !existsSync(file)) return;
  throw new TidemarkError("TM-USAGE", `${file} exists already.`, {
    fix: "Edit it, give another name with --config, or overwrite it with --force.",
    details: { file },
  });
}

async function answersOf(
  { output }: Invocation,
  options: InitOptions,
  problem: Problem,
): Promise<SyncAnswers> {
  const { from, to, table = [], queue } = options;
  if (from !== undefined && to !== undefined && table.length > 0) {
    return { from, to, tables: table, ...(queue !== undefined && { queue }) };
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
