import { TidemarkError } from "../core/errors.ts";
import type { Invocation } from "./command-module.ts";

/** Asks on a terminal. Throws TM-USAGE when the answer is no, and where there is nobody to ask; `fix` is how to do without. */
export async function mustConfirm(
  { output }: Invocation,
  { question, fix }: { readonly question: string; readonly fix: string },
): Promise<void> {
  const canAsk = process.stdin.isTTY && process.stdout.isTTY && !output.json;
  if (canAsk) {
    const { confirm } = await import("@clack/prompts");
    if ((await confirm({ message: question, initialValue: false })) === true) return;
  }
  throw new TidemarkError(
    "TM-USAGE",
    canAsk
      ? "Not confirmed: nothing was changed."
      : "Not confirmed, and there is no terminal to ask on: nothing was changed.",
    { fix },
  );
}
