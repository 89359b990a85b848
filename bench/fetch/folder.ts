// Where the benchmark keeps what it fetches: a folder of this checkout that git ignores.
import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { STATE_FOLDER } from "../../test/servers/register.ts";

/**
 * The folder, filled by `fill` if there is none yet. Whole or not at all: what was interrupted
 * would look complete to the next run.
 */
export async function fetched(
  name: string,
  fill: (folder: string) => Promise<void>,
): Promise<string> {
  const folder = join(STATE_FOLDER, "bench", name);
  if (existsSync(folder)) return folder;
  mkdirSync(dirname(folder), { recursive: true });
  const unfinished = mkdtempSync(`${folder}-`);
  try {
    await fill(unfinished);
    renameSync(unfinished, folder);
  } finally {
    rmSync(unfinished, { recursive: true, force: true });
  }
  return folder;
}
