import { once } from "node:events";
import { fstatSync, writeFileSync } from "node:fs";
import { sleep } from "../core/async.ts";
import { TidemarkError } from "../core/errors.ts";
import { describeFailure } from "./describe-failure.ts";

/**
 * What a command does when its stdout takes nothing more: ends as failed, ends well because its reader
 * says "enough" by leaving (`tidemark tail | head`), or works on, since what it prints is not its work.
 */
export type WhenUnread = "fail" | "enough" | "work on";

/** So much may wait in memory for whoever reads stdout or stderr through a pipe. */
export const MOST_UNREAD_BYTES = 1_048_576;
/** So long whoever does not read is waited for by what has been told to end. */
const UNREAD_MS = 2_000;

/** Stdout, whose reader may leave or stop reading, and whose disk may be full. */
export class Stdout {
  whenUnread: WhenUnread = "fail";
  /** Is what the command does more than what it prints? Whoever runs it must then see it fail. */
  isService = false;
  readonly #isFile = fstatSync(process.stdout.fd).isFile();
  #isUsed = false;
  #failure: TidemarkError | null = null;

  constructor() {
    process.stdout.on("error", (error) => this.#onError(error));
    // Nowhere is left to tell it, and it must not end what works on.
    process.stderr.on("error", () => {});
  }

  write(text: string): void {
    this.#isUsed = true;
    if (!this.#isFile) {
      process.stdout.write(text);
      return;
    }
    // The stream takes a text of which a full disk held only the beginning for written.
    try {
      writeFileSync(process.stdout.fd, text);
    } catch (error) {
      this.#onError(error as Error);
    }
  }

  /** Is so much unread that more of it would fill the memory? */
  get isBehind(): boolean {
    return process.stdout.writableLength >= MOST_UNREAD_BYTES;
  }

  /** Resolves once what was written is read, where too much is not, or when the signal aborts. */
  async caughtUp(signal: AbortSignal): Promise<void> {
    if (!this.isBehind) return;
    // What else may become of it is told by its listeners.
    await once(process.stdout, "drain", { signal }).catch(() => {});
  }

  /**
   * Waits until everything is written; not for long for a reader who does not read, where a signal asked for the end
   * or a service has failed. Gives the exit code: what the work deserves, unless its result is lost.
   */
  async finish(exitCode: number): Promise<number> {
    await Promise.race([written(process.stderr), sleep(UNREAD_MS)]);
    if (!this.#isUsed) return exitCode; // writing nothing to a full disk would fail, too
    const mustEnd = exitCode > 128 || (this.isService && exitCode !== 0);
    const patience = mustEnd ? [sleep(UNREAD_MS)] : [];
    const error = await Promise.race([written(process.stdout), ...patience]);
    if (error) this.#onError(error);
    return exitCode === 0 && this.#failure !== null ? this.#failure.exitCode : exitCode;
  }

  #onError(error: NodeJS.ErrnoException): void {
    // A terminal that was closed says EIO.
    const hasReaderLeft =
      error.code === "EPIPE" || (error.code === "EIO" && process.stdout.isTTY === true);
    if (!hasReaderLeft && this.#failure === null) {
      this.#failure = failureOf(error);
      process.stderr.write(describeFailure(this.#failure));
    }
    if (this.whenUnread === "work on") return;
    if (hasReaderLeft) process.exit(this.whenUnread === "enough" ? 0 : 1);
    process.exit(this.#failure?.exitCode ?? 1);
  }
}

function written(stream: NodeJS.WriteStream): Promise<Error | null | undefined> {
  return new Promise((resolve) => {
    stream.write("", resolve);
  });
}

/** Is it for want of room that something could not be written? */
export function isFull({ code = "" }: NodeJS.ErrnoException): boolean {
  return ["ENOSPC", "EDQUOT", "EFBIG"].includes(code);
}

function failureOf(error: NodeJS.ErrnoException): TidemarkError {
  return new TidemarkError(
    isFull(error) ? "TM-DISK-FULL" : "TM-INTERNAL",
    `Stdout could not be written: ${error.message}.`,
    { fix: "Free space where stdout goes, or send it elsewhere.", cause: error },
  );
}
