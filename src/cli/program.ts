import { Command, CommanderError, Option } from "commander";
import { TidemarkError, toTidemarkError } from "../core/errors.ts";
import { guardArguments } from "./arguments.ts";
import type { CommandModule, Invocation } from "./command-module.ts";
import { demo } from "./commands/demo.ts";
import { doctor } from "./commands/doctor.ts";
import { init } from "./commands/init.ts";
import { parked } from "./commands/parked.ts";
import { plan } from "./commands/plan.ts";
import { resync } from "./commands/resync.ts";
import { run } from "./commands/run.ts";
import { status } from "./commands/status.ts";
import { tail } from "./commands/tail.ts";
import { uninstall } from "./commands/uninstall.ts";
import { wait } from "./commands/wait.ts";
import { LOG_LEVELS, type LogLevel } from "./log-levels.ts";
import { Output } from "./output.ts";
import { Stdout } from "./stdout.ts";
import { version } from "./version.ts";

/**
 * In the order in which one meets them; `--help` lists them so. All are loaded for each command, so what
 * not all need and is large (the config's parsers, the log, prompts, bars) is imported where it is used.
 */
export const COMMANDS: readonly CommandModule[] = [
  demo,
  init,
  doctor,
  plan,
  run,
  status,
  wait,
  tail,
  parked,
  resync,
  uninstall,
];

/** Options that every verb takes. */
interface CommonOptions {
  readonly config?: string;
  readonly json?: boolean;
  readonly quiet?: boolean;
  readonly logLevel?: LogLevel;
}

/** Runs one command and gives its exit code, once what it says is written; prints every error itself. */
export async function runProgram(args: readonly string[]): Promise<number> {
  const stdout = new Stdout();
  return stdout.finish(await parseAndRun(args, stdout));
}

async function parseAndRun(args: readonly string[], stdout: Stdout): Promise<number> {
  let exitCode = 0;
  readLogLevel(process.env);
  const program = makeProgram(stdout);
  for (const module of COMMANDS) {
    addCommand(program, module, async (given) => {
      exitCode = await runCommand(module, given, { args, stdout });
    });
  }
  try {
    if (args.length === 0) program.help({ error: true });
    await program.parseAsync(args, { from: "user" });
    return exitCode;
  } catch (error) {
    return refuseArguments(error, { args, stdout });
  }
}

/** Other programs have a LOG_LEVEL too, and share the environment: INFO is info, and an empty one is none. */
function readLogLevel(environment: NodeJS.ProcessEnv): void {
  const { LOG_LEVEL: level } = environment;
  if (level === "") delete environment.LOG_LEVEL;
  else if (level !== undefined) environment.LOG_LEVEL = level.toLowerCase();
}

function makeProgram(stdout: Stdout): Command {
  return new Command("tidemark")
    .description("Keeps databases of different kinds in step, in real time.")
    .version(version(), "-V, --version")
    .helpCommand(false)
    .showSuggestionAfterError()
    .exitOverride()
    .configureOutput({
      writeOut: (text) => stdout.write(text),
      outputError: () => {}, // told by refuseArguments
    })
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
    .addHelpText(
      "after",
      "\nTry it:  tidemark demo\nSync:    tidemark run --from URL --to URL --table 'public.*'\n\n" +
        "Exit codes: 0 ok, 1 failed or timed out, 2 usage or config, 3 environment, 129/130/143 on signals.",
    );
}

function addCommand(
  program: Command,
  module: CommandModule,
  action: (given: Given) => Promise<void>,
): void {
  const command = program
    .command(module.name)
    .summary(module.summary)
    .description(module.description ?? module.summary);
  module.configure(command);
  command
    .option("--config <file>", "config file (default: tidemark.yaml, .json, .ts … in this folder)")
    .option("--json", "print JSON for programs")
    .option("--quiet", "print only warnings, errors and results")
    .addOption(
      new Option("--log-level <level>", "least level of the log on stderr")
        .env("LOG_LEVEL")
        .choices(LOG_LEVELS),
    )
    .addHelpText("after", `\nExample${module.examples.length > 1 ? "s" : ""}:`)
    .addHelpText("after", module.examples.map((example) => `  ${example}`).join("\n"))
    .action((...given: unknown[]) => {
      // Commander gives the operands first, then the options, then the command.
      const options = given.at(-2) as Record<string, unknown>;
      return action({ options, operands: given.slice(0, -2) });
    });
}

type Given = Pick<Invocation, "options" | "operands">;

/** What every command of the process shares. */
interface Surroundings {
  readonly args: readonly string[];
  readonly stdout: Stdout;
}

async function runCommand(
  module: CommandModule,
  { options, operands }: Given,
  { args, stdout }: Surroundings,
): Promise<number> {
  const common = options as CommonOptions;
  stdout.whenUnread = module.whenUnread ?? "fail";
  stdout.isService = module.whenUnread === "work on";
  const output = new Output(module.name, stdout, {
    json: common.json ?? false,
    quiet: common.quiet ?? false,
    debug: common.logLevel === "debug",
  });
  const level = common.logLevel ?? module.logLevel ?? (common.quiet ? "warn" : undefined);
  const { Log } = await import("./log.ts");
  const log = new Log({ ...(level && { level }) });
  guardArguments(module.name, args, output);
  try {
    return await module.run({ options, operands, configFile: common.config, args, output, log });
  } catch (error) {
    stdout.whenUnread = "work on"; // it ends by its own exit code, whoever reads why
    return output.fail(toTidemarkError(error), { redact: log.redact });
  }
}

/** What commander throws: help and version asked for (no error), or arguments it cannot make sense of. */
function refuseArguments(error: unknown, { args, stdout }: Surroundings): number {
  if (error instanceof CommanderError && error.exitCode === 0) return 0;
  if (error instanceof CommanderError && error.code === "commander.help") return 2;
  const verb = COMMANDS.find(({ name }) => name === args[0])?.name;
  stdout.whenUnread = "work on";
  const output = new Output(verb ?? "tidemark", stdout, { json: args.includes("--json") });
  if (!(error instanceof CommanderError)) return output.fail(toTidemarkError(error));
  const message = error.message.replace(/^error: /, "").replace(/\s*\n\s*/g, " ");
  return output.fail(
    new TidemarkError(
      "TM-USAGE",
      `${message.charAt(0).toUpperCase()}${message.slice(1)}.`.replace(/([).])\.$/, "$1"),
      {
        fix: verb === undefined ? "tidemark --help" : `tidemark ${verb} --help`,
      },
    ),
  );
}
