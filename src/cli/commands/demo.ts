import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { delimiter, extname, join, relative, resolve } from "node:path";
import type { Command } from "commander";
import pc from "picocolors";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { makeFolder } from "../../core/make-folder.ts";
import { shellWord } from "../../core/shell.ts";
import type { Pipeline } from "../../pipeline/pipeline.ts";
import type { CommandModule, Invocation } from "../command-module.ts";
import { createShop } from "../demo/shop.ts";
import { Shops } from "../demo/shops.ts";
import type { DemoView } from "../demo/view.ts";
import { Interrupts } from "../interrupts.ts";
import type { Output } from "../output.ts";
import { watchStatus } from "../watch-status.ts";

interface DemoOptions {
  readonly folder: string;
}

const CONFIG = `# The demo's pipeline: one SQLite file kept in step with another.
databases:
  shop: sqlite:./shop.db
  copy: sqlite:./copy.db
queue: sqlite:./queue.db
syncs:
  - from: shop
    to: copy
    tables: ["*"]
`;

export const demo: CommandModule = {
  name: "demo",
  summary: "see it work: two SQLite files, live changes, no server and no config",
  description:
    "Makes a shop database, a program that keeps changing it, and a copy that follows every change live. " +
    "Ctrl-C ends it; started again, it goes on where it was. Everything stands in one folder.",
  examples: ["tidemark demo", "tidemark demo --folder /tmp/demo"],

  logLevel: "warn",
  whenUnread: "work on",

  configure(command: Command): void {
    command.option("--folder <folder>", "where its files stand", "./.tidemark/demo");
  },

  async run(invocation: Invocation): Promise<number> {
    const { output, log } = invocation;
    const folder = resolve((invocation.options as unknown as DemoOptions).folder);
    const interrupts = new Interrupts();
    const { config, source, target } = prepare(folder);
    const { loadConfig } = await import("../../config/load-config.ts");
    const { definition } = await loadConfig({ file: config });
    const { Pipeline } = await import("../../pipeline/pipeline.ts");
    const pipeline = await Pipeline.open(definition, { logger: log.logger });
    const shops = new Shops({ source, target });
    for (const line of introduction(folder)) output.line(line);
    const { DemoView } = await import("../demo/view.ts");
    const view = new DemoView(output, shops, hint(source));
    const restoreLog = log.through((line) => view.log(line));
    const writer = startWriter(source);
    try {
      await follow(pipeline, { view, output }, writer, interrupts);
      return output.end({ folder }, interrupts.exitCode ?? 0);
    } finally {
      view.close();
      restoreLog();
      shops.close();
      interrupts.release();
      output.line("Stopped. Start it again and it goes on where it was.");
    }
  },
};

/** The demo's files; what is there already is kept. */
function prepare(folder: string) {
  const config = join(folder, "tidemark.yaml");
  const source = join(folder, "shop.db");
  const target = join(folder, "copy.db");
  try {
    makeFolder(folder);
    if (existsSync(config)) mustBeOurs(config);
    else {
      // Its config is the first that a demo makes. The program would change, and delete, whatever orders they hold.
      for (const file of [source, target]) if (existsSync(file)) throw isNotOurs(file);
      writeFileSync(config, CONFIG);
    }
    createShop(source);
  } catch (error) {
    if (isTidemarkError(error)) throw error;
    const { message } = error as Error;
    throw new TidemarkError("TM-USAGE", `The demo cannot have its files in ${folder}: ${message}`, {
      fix: "Name a folder that may be made or written, with --folder.",
      cause: error,
    });
  }
  return { config, source, target };
}

/** Else it would run whatever that config says. */
function mustBeOurs(config: string): void {
  const [title = ""] = CONFIG.split("\n");
  if (!readFileSync(config, "utf8").startsWith(title)) throw isNotOurs(config);
}

function isNotOurs(file: string): TidemarkError {
  return new TidemarkError("TM-USAGE", `${file} is there already, and is not the demo's.`, {
    fix: "Name another folder, with --folder.",
  });
}

async function follow(
  pipeline: Pipeline,
  { view, output }: { readonly view: DemoView; readonly output: Output },
  writer: ChildProcess,
  interrupts: Interrupts,
): Promise<void> {
  const ended = new AbortController();
  const displays: Promise<void>[] = [];
  const writerFailed = once(writer, "exit").then(() => {
    if (!ended.signal.aborted) {
      throw new TidemarkError("TM-INTERNAL", "The demo's writer has ended by itself.", {
        fix: "Remove the demo's folder and start it again.",
      });
    }
  });
  try {
    await Promise.race([pipeline.start(), interrupts.requested]);
    if (interrupts.exitCode !== null) return;
    displays.push(
      watchStatus(() => pipeline.status(), view, ended.signal, { output, everyMs: 250 }),
    );
    displays.push(showNotices(pipeline, { view, output }, ended.signal));
    await Promise.race([interrupts.requested, pipeline.finished, writerFailed, ...displays]);
  } finally {
    ended.abort();
    // The writer first: it must not run into a source that is being let go.
    if (writer.connected) writer.send("end");
    await Promise.all([writerFailed, ...displays]);
    await pipeline.stop();
  }
}

async function showNotices(
  pipeline: Pipeline,
  { view, output }: { readonly view: DemoView; readonly output: Output },
  signal: AbortSignal,
): Promise<void> {
  for await (const notice of pipeline.notices(signal)) if (!output.isBehind) view.notice(notice);
}

function startWriter(source: string): ChildProcess {
  const program = new URL(`../demo/writer${extname(import.meta.filename)}`, import.meta.url);
  return fork(program, [source], { stdio: ["ignore", "ignore", "inherit", "ipc"] });
}

function introduction(folder: string): string[] {
  return [
    pc.bold("Tidemark demo"),
    `A program changes ${pc.bold("shop.db")}; ${pc.bold("copy.db")} follows. Files: ${relative(process.cwd(), folder) || folder}`,
    "",
  ];
}

/** A line to paste in a second terminal: with the sqlite3 program, or with Node where there is none. */
function hint(source: string): string[] {
  const sql = "UPDATE customers SET name = 'You' WHERE id = 1";
  const path = shellWord(relative(process.cwd(), source));
  const command = hasProgram("sqlite3")
    ? `sqlite3 ${path} "${sql}"`
    : `"${process.execPath}" -e "new (require('node:sqlite').DatabaseSync)(process.argv[1]).exec(\\"${sql}\\")" ${path}`;
  return [
    pc.dim("Change a row yourself, with any SQLite tool, from a second terminal in this folder:"),
    `  ${command}`,
    pc.dim("Ctrl-C ends."),
  ];
}

function hasProgram(name: string): boolean {
  return (process.env.PATH ?? "").split(delimiter).some((folder) => existsSync(join(folder, name)));
}
