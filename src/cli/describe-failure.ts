import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import pc from "picocolors";

/** The lines on stderr: what failed, how to mend it, where more is said. */
export function describeFailure({
  code,
  message,
  fix,
  details = {},
}: {
  readonly code: string;
  readonly message: string;
  readonly fix?: string | null | undefined;
  readonly details?: Readonly<Record<string, unknown>>;
}): string {
  const lines = [`${pc.red(pc.bold(code))}  ${message}`];
  if (typeof fix === "string") lines.push(`${pc.bold("fix:")} ${fix}`);
  // The page of a sync that has stopped says no more than to look at that of what it has stopped for.
  const told = code === "TM-SYNC-STOPPED" ? `${details.code ?? code}` : code;
  lines.push(pc.dim(`see: ${pageOf(told)}`));
  return `${lines.join("\n")}\n`;
}

/** The error's page: it is installed with the package, wherever that stands. */
function pageOf(code: string): string {
  const file = fileURLToPath(new URL(`../../docs/errors/${code}.md`, import.meta.url));
  const near = relative(process.cwd(), file);
  return near.startsWith("..") ? file : near;
}
