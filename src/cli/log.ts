import pc from "picocolors";
import { pino } from "pino";
import { TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { redactJson, redactText } from "../core/secrets.ts";
import type { LogLevel } from "./log-levels.ts";
import { MOST_UNREAD_BYTES } from "./stdout.ts";

export interface LogOptions {
  /** Default: `warn` on a terminal, where the command's own display tells the rest; else `info`. */
  readonly level?: LogLevel;
}

const LABELS: Readonly<Record<number, string>> = {
  20: pc.dim("debug"),
  30: pc.green("info "),
  40: pc.yellow("warn "),
  50: pc.red("error"),
};

/** Set by pino itself, or shown in front. */
const NOT_SHOWN = new Set(["level", "time", "msg", "err"]);

/**
 * The log on stderr: plain lines, or JSON with LOG_FORMAT=json. Every secret it has been told of is
 * hidden, wherever a driver's text may have quoted it.
 */
export class Log {
  readonly logger: Logger;
  #secrets: readonly string[] = [];
  #names: readonly string[] = [];
  #write = (line: string): void => this.#toStderr(line);
  /** Lines that would have filled the memory, as nobody read those before. */
  #leftOut = 0;

  constructor(options: LogOptions = {}) {
    const level = options.level ?? (process.stderr.isTTY ? "warn" : "info");
    const json = process.env.LOG_FORMAT === "json";
    this.logger = pino(
      { level, base: null, serializers: { err: serializeError } },
      {
        write: (line: string) => {
          const redacted = redactJson(line, this.redact);
          this.#write(json ? redacted : plain(redacted));
        },
      },
    );
  }

  /** Connection URLs whose passwords must never be seen, and names that are told even where they are a password as well. */
  hide(urls: readonly string[], names: readonly string[]): void {
    this.#secrets = urls;
    this.#names = names;
  }

  readonly redact = (text: string): string => redactText(text, this.#secrets, this.#names);

  #toStderr(line: string): void {
    const { stderr } = process;
    if (stderr.writableLength < MOST_UNREAD_BYTES) {
      stderr.write(line);
      return;
    }
    this.#leftOut++;
    if (this.#leftOut > 1) return;
    stderr.once("drain", () => {
      const lines = this.#leftOut;
      this.#leftOut = 0;
      this.logger.warn({ lines }, "left out of the log: nobody read what stood before");
    });
  }

  /** Sends lines through a display that redraws itself in place; undo with the function given back. */
  through(write: (line: string) => void): () => void {
    const before = this.#write;
    this.#write = write;
    return () => {
      this.#write = before;
    };
  }
}

/** As pino does; but what a driver said stands behind a message of ours only where it says more. */
function serializeError(error: unknown): unknown {
  if (!(error instanceof TidemarkError)) return pino.stdSerializers.err(error as Error);
  let { message } = error;
  for (let { cause } = error as { cause?: unknown }; cause instanceof Error; { cause } = cause) {
    const said = cause.message.replace(/\.$/, "");
    if (!message.includes(said)) message = `${message.replace(/\.$/, "")}: ${cause.message}`;
  }
  return Object.assign(pino.stdSerializers.err(error), { message });
}

interface LoggedError {
  readonly message?: string;
  readonly code?: string;
  readonly fix?: string;
}

function plain(line: string): string {
  const entry = JSON.parse(line) as Record<string, unknown>;
  const time = new Date(Number(entry.time)).toISOString().slice(11, 23);
  const { message: why, code, fix } = (entry.err ?? {}) as LoggedError;
  const isOurs = code?.startsWith("TM-") === true;
  // What is tried again tells its fix by `tidemark status`.
  const more = isOurs && fix !== undefined && Number(entry.level) >= 50 ? { ...entry, fix } : entry;
  const fields = Object.entries(more)
    .filter(([key]) => !NOT_SHOWN.has(key))
    .map(([key, value]) => `${key}=${typeof value === "string" ? value : JSON.stringify(value)}`);
  const reason = isOurs ? `${code} ${why}` : why;
  const message = [entry.msg, reason].filter(Boolean).join(": ");
  const label = LABELS[Number(entry.level)] ?? "";
  return `${pc.dim(time)} ${label} ${message}${fields.length > 0 ? pc.dim(`  ${fields.join(" ")}`) : ""}\n`;
}
