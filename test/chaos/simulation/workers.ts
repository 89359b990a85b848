import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Summary } from "./run-seeds.ts";

const PROGRAM = fileURLToPath(new URL("run-seeds.ts", import.meta.url));
/**
 * Seeds of one process, at most: it is slow until its code is compiled, and what little is left of the
 * worlds that are over goes with it.
 */
const AT_ONCE = 250;
/** At least, so that starting it pays. */
const AT_LEAST = 25;
/** Of one after which enough may be shown. */
const FEW = 5;
const PROCESSES = 2;

export interface RunOptions {
  readonly plant?: string;
  /** Ends the run early. */
  readonly enough?: (sum: Summary) => boolean;
  /** Is it soon enough, most likely? */
  readonly endsSoon?: boolean;
}

/** Runs seeds `first` … `first + count - 1`, two processes at a time. */
export async function runSeeds(
  first: number,
  count: number,
  options: RunOptions = {},
): Promise<Summary> {
  let sum: Summary = { seeds: 0, failed: [], counts: {}, healedMs: [] };
  let next = first;
  const work = async () => {
    while (next < first + count && !options.enough?.(sum)) {
      const from = next;
      const left = first + count - from;
      // Less towards the end, so that all end at about the same time.
      const share = Math.max(AT_LEAST, Math.ceil(left / (2 * PROCESSES)));
      const many = Math.min(options.endsSoon ? FEW : AT_ONCE, share, left);
      next += many;
      const part = await runProcess(from, many, options.plant ?? "");
      sum = add(sum, part);
    }
  };
  await Promise.all(Array.from({ length: PROCESSES }, work));
  return sum;
}

async function runProcess(first: number, count: number, plant: string): Promise<Summary> {
  const args = ["--no-warnings", PROGRAM, String(first), String(count), plant];
  const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 64 << 20 });
  return JSON.parse(stdout) as Summary;
}

function add(a: Summary, b: Summary): Summary {
  const counts = { ...a.counts };
  for (const [what, times] of Object.entries(b.counts)) counts[what] = (counts[what] ?? 0) + times;
  return {
    seeds: a.seeds + b.seeds,
    failed: [...a.failed, ...b.failed],
    counts,
    healedMs: [...a.healedMs, ...b.healedMs],
  };
}
