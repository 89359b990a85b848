import { isCancel, text } from "@clack/prompts";
import { TidemarkError } from "../core/errors.ts";
import type { SyncAnswers } from "./render-config.ts";

/** What the flags have told already. */
interface Known {
  readonly from?: string;
  readonly to?: string;
  readonly table?: readonly string[];
  readonly queue?: string;
}

const URL_HINT = "postgres://user@host/database, mysql://…, sqlite:./file.db, or env:NAME";

/** Asks on the terminal for what the flags left open. */
export async function askForSync(known: Known): Promise<SyncAnswers> {
  const from = known.from ?? (await ask("Where do the rows come from?", URL_HINT));
  const to = known.to ?? (await ask("Where shall they go?", URL_HINT));
  const tables =
    known.table ??
    (await ask("Which tables?", "public.*  or  customers orders", "*")).split(/[\s,]+/);
  return { from, to, tables, ...(known.queue !== undefined && { queue: known.queue }) };
}

async function ask(message: string, placeholder: string, initialValue?: string): Promise<string> {
  const answer = await text({
    message,
    placeholder,
    ...(initialValue !== undefined && { initialValue }),
    validate: (value) => ((value ?? "").trim() === "" ? "Needed." : undefined),
  });
  if (!isCancel(answer)) return answer.trim();
  throw new TidemarkError("TM-USAGE", "Cancelled: nothing was written.", {
    fix: "tidemark init --help",
  });
}
