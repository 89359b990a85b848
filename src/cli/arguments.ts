import { redactUrl } from "../core/secrets.ts";
import type { Output } from "./output.ts";

/**
 * Arguments can be read by every user of a machine (`ps`). Hides ours from the process list at
 * once, and says that a password was visible until then: it stays in the shell's history.
 */
export function guardArguments(verb: string, args: readonly string[], output: Output): void {
  // Setting the title writes over the memory that `ps` reads the arguments from.
  process.title = `tidemark ${verb}`;
  const seen = args.findIndex(holdsPassword);
  if (seen < 0) return;
  output.warn(
    "a password stands on the command line, where the shell's history and others on this machine " +
      `may see it. Give the URL through the environment instead: ${asReference(args, seen)}`,
  );
}

/** How to write the argument there without its URL. */
function asReference(args: readonly string[], index: number): string {
  const option = [args[index], args[index - 1]].map((each) => /^--[a-z-]+/.exec(each ?? "")?.[0]);
  if (option.includes("--to")) return "--to env:TARGET_URL";
  return option.includes("--queue") ? "--queue env:QUEUE_URL" : "--from env:SOURCE_URL";
}

function holdsPassword(argument: string): boolean {
  const url = argument.replace(/^--[a-z-]+=/, "");
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(url) || /:\$\{[^}]*\}@/.test(url)) return false;
  const redacted = redactUrl(url);
  return redacted.includes("***");
}
