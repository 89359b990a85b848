import type { Command } from "commander";
import type { Log } from "./log.ts";
import type { LogLevel } from "./log-levels.ts";
import type { Output } from "./output.ts";
import type { WhenUnread } from "./stdout.ts";

/** A verb of the command line: one file in commands/, one line in program.ts. */
export interface CommandModule {
  readonly name: string;
  /** One line, for the list of verbs. */
  readonly summary: string;
  /** For the verb's own help; default: the summary. */
  readonly description?: string;
  /** Lines to paste, shown under the verb's help. */
  readonly examples: readonly string[];
  /** Least level of the log when nobody says otherwise; default: see log.ts. */
  readonly logLevel?: LogLevel;
  /** When nobody reads stdout any more; default: `fail`. */
  readonly whenUnread?: WhenUnread;
  /** Declares the options of its own. */
  configure(command: Command): void;
  /** Gives the exit code; throws TidemarkError for what has a code. */
  run(invocation: Invocation): Promise<number>;
}

/** One call of a verb. */
export interface Invocation {
  /** As commander parsed them; each verb narrows its own. */
  readonly options: Readonly<Record<string, unknown>>;
  /** Arguments that are no options, for a verb that declares some. */
  readonly operands: readonly unknown[];
  readonly configFile: string | undefined;
  /** All of them as they were given. */
  readonly args: readonly string[];
  readonly output: Output;
  readonly log: Log;
}
