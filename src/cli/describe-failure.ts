import { relative } from "node:path";
import { fileURLToPath } from "node:url";
import pc from "picocolors";

/** The lines on stderr: what failed, how to mend it, where more is said. */
export function describeFailure({
  code,
  message,
  fix,
}: {
  readonly code: string;
  readonly message: string;
  readonly fix?: string | null | undefined;
}): string {
  const lines = [`${pc.red(pc.bold(code))}  ${message}`];
  if (typeof fix === "string") lines.push(`${pc.bold("fix:")} ${fix}`);
  lines.push(pc.dim(`see: ${pageOf(code)}`));
  return `${lines.join("\n")}\n`;
}

/** The error's page: it is installed with the package, wherever that stands. */
function pageOf(code: string): string {
  const file = fileURLToPath(new URL(`../../docs/errors/${code}.md`, import.meta.url));
  const near = relative(process.cwd(), file);
  return near.startsWith("..") ? file : near;
}
