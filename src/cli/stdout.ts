import { fstatSync, writeFileSync } from "node:fs";
import { TidemarkError } from "../core/errors.ts";
import { describeFailure } from "./describe-failure.ts";

/**
 * What a command does when its stdout takes nothing more: ends as failed, ends well because its reader
 * says "enough" by leaving (`tidemark tail | head`), or works on, since what it prints is not its work.
 */
export type WhenUnread = "fail" | "enough" | "work on";

/** Stdout, whose reader may leave and whose disk may be full. */
export class Stdout {
  whenUnread: WhenUnread = "fail";
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

  /** Waits until everything is written. Gives the exit code: what the work deserves, unless its result is lost. */
  async finish(exitCode: number): Promise<number> {
    if (!this.#isUsed) return exitCode; // writing nothing to a full disk would fail, too
    const error = await new Promise<Error | null | undefined>((resolve) => {
      process.stdout.write("", resolve);
    });
    if (error) this.#onError(error);
    return exitCode === 0 && this.#failure !== null ? this.#failure.exitCode : exitCode;
  }

  #onError(error: NodeJS.ErrnoException): void {
    const hasReaderLeft = error.code === "EPIPE";
    if (!hasReaderLeft && this.#failure === null) {
      this.#failure = failureOf(error);
      process.stderr.write(describeFailure(this.#failure));
    }
    if (this.whenUnread === "work on") return;
    if (hasReaderLeft) process.exit(this.whenUnread === "enough" ? 0 : 1);
    process.exit(this.#failure?.exitCode ?? 1);
  }
}

function failureOf(error: NodeJS.ErrnoException): TidemarkError {
  const isFull = ["ENOSPC", "EDQUOT", "EFBIG"].includes(error.code ?? "");
  return new TidemarkError(
    isFull ? "TM-DISK-FULL" : "TM-INTERNAL",
    `Stdout could not be written: ${error.message}.`,
    { fix: "Free space where stdout goes, or send it elsewhere.", cause: error },
  );
}
