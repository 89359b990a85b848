import { isCancel, text } from "@clack/prompts";
import { TidemarkError } from "../core/errors.ts";
import { answered } from "./answered.ts";
import type { SyncAnswers } from "./render-config.ts";

/** What the flags have told already. */
interface Known {
  readonly from?: string;
  readonly to?: string;
  readonly table?: readonly string[];
  readonly except?: readonly string[];
  readonly queue?: string;
}

/** Why no config can be written of it, in one line; undefined where one can. */
export type Problem = (answers: SyncAnswers) => string | undefined;

const URL_HINT = "postgres://user@host/database, mysql://…, sqlite:./file.db, or env:NAME";
const ALL = "*";
/** Stands for what is still to be asked. */
const TO_COME = { to: "sqlite:./to-come.db", tables: [ALL] };

/** Asks on the terminal for what the flags left open; what is wrong is told at the question. */
export async function askForSync(known: Known, problem: Problem): Promise<SyncAnswers> {
  const from =
    known.from ??
    (await ask("Where do the rows come from?", {
      placeholder: URL_HINT,
      problem: (value) => problem({ ...TO_COME, from: value }),
    }));
  const to =
    known.to ??
    (await ask("Where shall they go?", {
      placeholder: URL_HINT,
      problem: (value) => problem({ ...TO_COME, from, to: value }),
    }));
  const except = known.except && { except: known.except };
  const tables =
    known.table ??
    tablesIn(
      await ask("Which tables?", {
        placeholder: "all of them; or public.*; or customers orders",
        // Not written for them to begin with: what they type would stand behind the star.
        otherwise: ALL,
        problem: (value) => problem({ from, to, tables: tablesIn(value), ...except }),
      }),
    );
  return { from, to, tables, ...except, ...(known.queue !== undefined && { queue: known.queue }) };
}

function tablesIn(answer: string): readonly string[] {
  return answer.split(/[\s,]+/).filter((name) => name !== "");
}

async function ask(
  message: string,
  {
    placeholder,
    otherwise,
    problem,
  }: {
    readonly placeholder: string;
    readonly otherwise?: string;
    readonly problem: (answer: string) => string | undefined;
  },
): Promise<string> {
  const answer = await answered((signal) =>
    text({
      message,
      placeholder,
      signal,
      ...(otherwise !== undefined && { defaultValue: otherwise }),
      validate: (value = "") => {
        const given = value.trim() || otherwise;
        return given === undefined ? "Needed." : problem(given);
      },
    }),
  );
  if (!isCancel(answer)) return answer.trim() || (otherwise ?? "");
  throw new TidemarkError("TM-USAGE", "Cancelled: nothing was written.", {
    fix: "tidemark init --help",
  });
}
