import { existsSync, mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * As `mkdir -p`, folder by folder. Node's own `recursive` tries for ever, with no way to end it, in a folder that stands
 * and yet answers that there is no such thing, as /proc does.
 */
export function makeFolder(path: string, mode = 0o777): void {
  const missing: string[] = [];
  for (let folder = path; !existsSync(folder); folder = dirname(folder)) missing.unshift(folder);
  for (const folder of missing) makeOne(folder, mode);
  // A file is in its place: told as the system tells it.
  if (!statSync(path).isDirectory()) mkdirSync(path);
}

function makeOne(folder: string, mode: number): void {
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    // By another process meanwhile, it may be.
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  }
}
