import pc from "picocolors";
import type { TidemarkError } from "../core/errors.ts";
import { redactJson, redactText } from "../core/secrets.ts";
import { describeFailure } from "./describe-failure.ts";
import type { Stdout } from "./stdout.ts";

export interface OutputOptions {
  /** JSON instead of text on stdout. */
  readonly json?: boolean;
  /** No text but results and errors. */
  readonly quiet?: boolean;
  /** With stacks. */
  readonly debug?: boolean;
}

export interface Failure {
  /** Hides secrets that a driver's text may quote. Default: the password of whatever looks like a URL. */
  readonly redact?: (text: string) => string;
  /** What the command found out all the same. */
  readonly result?: unknown;
}

/**
 * What a command says: text for people, or JSON for programs. In JSON a command ends with one
 * envelope `{command, ok, result, error}`; one that streams prints `{command, event, …}` lines first.
 */
export class Output {
  readonly json: boolean;
  readonly quiet: boolean;
  readonly #command: string;
  readonly #stdout: Stdout;
  readonly #debug: boolean;

  constructor(command: string, stdout: Stdout, options: OutputOptions = {}) {
    this.#command = command;
    this.#stdout = stdout;
    this.json = options.json ?? false;
    this.quiet = options.quiet ?? false;
    this.#debug = options.debug ?? false;
  }

  /** May the text be redrawn in place? Not in a terminal that nobody gave a size: nothing would be seen of it. */
  get live(): boolean {
    const { isTTY, columns } = process.stdout;
    const isLive = isTTY === true && columns > 0 && process.env.TERM !== "dumb";
    return !this.json && !this.quiet && isLive;
  }

  /** See {@link Stdout.isBehind}: what will be told anew had better be left out. */
  get isBehind(): boolean {
    return this.#stdout.isBehind;
  }

  /** See {@link Stdout.caughtUp}: for whoever prints without an end what may not be left out. */
  caughtUp(signal: AbortSignal): Promise<void> {
    return this.#stdout.caughtUp(signal);
  }

  /** Progress and explanations. */
  line(text = ""): void {
    if (!this.quiet) this.result(text);
  }

  /** What was asked for: also printed when quiet. */
  result(text: string): void {
    if (!this.json) this.#stdout.write(`${text}\n`);
  }

  /** One JSON line of a stream. */
  event(event: string, data: object): void {
    if (this.json) this.#print({ command: this.#command, event, ...data });
  }

  /** The envelope at the end; gives the exit code. */
  end(result: unknown, exitCode = 0): number {
    if (this.json) {
      const ok = exitCode === 0;
      this.#print({ command: this.#command, ok, result: result ?? null, error: null });
    }
    return exitCode;
  }

  warn(text: string): void {
    if (!this.json) process.stderr.write(`${pc.yellow("warning:")} ${redactText(text)}\n`);
  }

  /** Says what failed and how to mend it; gives the exit code. */
  fail(error: TidemarkError, { redact = redactText, result = null }: Failure = {}): number {
    const message = redact(error.message);
    const fix = error.fix === undefined ? null : redact(error.fix);
    if (this.json) {
      const { code, details } = error;
      this.#print({
        command: this.#command,
        ok: false,
        result,
        error: {
          code,
          message,
          fix,
          details: JSON.parse(redactJson(JSON.stringify(details), redact)),
        },
      });
    } else {
      process.stderr.write(
        describeFailure({ code: error.code, message, fix, details: error.details }),
      );
    }
    if (this.#debug) process.stderr.write(`${redact(stackOf(error))}\n`);
    return error.exitCode;
  }

  #print(value: object): void {
    this.#stdout.write(`${JSON.stringify(value)}\n`);
  }
}

function stackOf(error: Error): string {
  const own = error.stack ?? error.message;
  return error.cause instanceof Error ? `${own}\ncaused by: ${stackOf(error.cause)}` : own;
}
