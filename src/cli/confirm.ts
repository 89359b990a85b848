import { TidemarkError } from "../core/errors.ts";
import { shellWord } from "../core/shell.ts";
import { answered } from "./answered.ts";
import type { Invocation } from "./command-module.ts";

/** Asks on a terminal. Throws TM-USAGE when the answer is no, and where there is nobody to ask. */
export async function mustConfirm({ output, args }: Invocation, question: string): Promise<void> {
  const canAsk = process.stdin.isTTY && process.stdout.isTTY && !output.json;
  if (canAsk) {
    const { confirm } = await import("@clack/prompts");
    const answer = await answered((signal) =>
      confirm({ message: question, initialValue: false, signal }),
    );
    if (answer === true) return;
  }
  throw new TidemarkError(
    "TM-USAGE",
    canAsk
      ? "Not confirmed: nothing was changed."
      : "Not confirmed, and there is no terminal to ask on: nothing was changed.",
    // All that was given: without its --sync or --database it would do more than was asked for.
    { fix: ["tidemark", ...args.map(shellWord), "--yes"].join(" ") },
  );
}
