// What a sync of the disk costs: every ratio depends on it, since a commit waits for one with capture or without.
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { quantile } from "./statistics.ts";

const SYNCS = 200;
const PAGE = Buffer.alloc(8192);

/** Microseconds, the median, of an fdatasync after a page was written to a file in this folder. */
export function syncMicros(folder: string): number {
  const path = join(folder, "sync");
  const file = openSync(path, "w");
  try {
    const times = Array.from({ length: SYNCS }, (_, i) => {
      writeSync(file, PAGE, 0, PAGE.length, i * PAGE.length);
      const start = performance.now();
      fdatasyncSync(file);
      return (performance.now() - start) * 1000;
    });
    return Math.round(quantile(times, 0.5));
  } finally {
    closeSync(file);
    rmSync(path);
  }
}
