import { redactUrl } from "../core/secrets.ts";
import type { Output } from "./output.ts";

/**
 * Arguments can be read by every user of a machine (`ps`). Hides ours from the process list at
 * once, and says that a password was visible until then: it stays in the shell's history.
 */
export function guardArguments(verb: string, args: readonly string[], output: Output): void {
  // Setting the title writes over the memory that `ps` reads the arguments from.
  process.title = `tidemark ${verb}`;
  if (!args.some(holdsPassword)) return;
  output.warn(
    "a password stands on the command line, where the shell's history and others on this machine " +
      "may see it. Give the URL through the environment instead: --from env:SOURCE_URL",
  );
}

function holdsPassword(argument: string): boolean {
  const url = argument.replace(/^--[a-z-]+=/, "");
  if (!/^[a-z][a-z0-9+.-]*:\/\//i.test(url) || /:\$\{[^}]*\}@/.test(url)) return false;
  const redacted = redactUrl(url);
  return redacted.includes("***");
}
