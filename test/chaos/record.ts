// What a run of the checkers has shown, kept for docs/reference/guarantees.md: one JSON file a run.
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { availableParallelism, totalmem } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const RECORDS = fileURLToPath(new URL("records", import.meta.url));
const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** A record is of committed code: what it names can be looked at, and run again. */
const CODE = ["src", "test", ":!test/chaos/records", ":!test/chaos/planted.json"];

const count = z.int().nonnegative();
const counts = z.record(z.string(), count);
const runRecord = z.strictObject({
  level: z.enum(["simulation", "servers", "power"]),
  commit: z.string().regex(/^[0-9a-f]{40}$/, "40 hex digits"),
  date: z.iso.date(),
  firstSeed: count,
  seeds: count,
  /** How long it took. */
  minutes: z.number().nonnegative(),
  /** Committed at the source. */
  transactions: count,
  /** Changes that were logged. */
  rows: count,
  /** Processes ended without warning. */
  kills: count,
  /** How often each kind of fault fell. */
  faults: counts,
  violations: count,
  /** From the end of the faults until all was in step. */
  recoveryMs: z.strictObject({ p50: count, p99: count, max: count, count }),
  /** Of real servers: how many seeds each "source-target over queue" had. */
  pairs: counts.optional(),
  /** What could not be run, and why. */
  skipped: z.array(z.string()),
  machine: z.string().min(1),
});

export type RunRecord = z.infer<typeof runRecord>;
/** What a run knows of itself; the rest is told by the machine and the repository. */
export type RunFigures = Omit<RunRecord, "commit" | "date" | "machine">;

/** Gives the record that a file's text is, or says what in it is wrong. */
export function parseRecord(text: string, file: string): RunRecord {
  const { data, error } = runRecord.safeParse(JSON.parse(text));
  if (error !== undefined) throw new Error(`${file} is no record: ${z.prettifyError(error)}`);
  const hasPairs = data.pairs !== undefined;
  if (hasPairs === (data.level !== "simulation")) return data;
  throw new Error(`${file} is no record: "pairs" belongs to real servers, and to no simulation`);
}

/** All records of a folder, by date, then by seed. */
export function readRecords(folder = RECORDS): readonly RunRecord[] {
  const names = existsSync(folder) ? readdirSync(folder) : [];
  const files = names.filter((name) => name.endsWith(".json"));
  const records = files.map((name) => parseRecord(readFileSync(join(folder, name), "utf8"), name));
  const order = ({ level, date, firstSeed }: RunRecord) =>
    `${level} ${date} ${String(firstSeed).padStart(12, "0")}`;
  return records.sort((a, b) => (order(a) < order(b) ? -1 : 1));
}

/** Writes the record of a run that has ended, and gives its file. Throws when the code is not committed. */
export function writeRecord(figures: RunFigures, folder = RECORDS): string {
  const record: RunRecord = {
    ...{ level: figures.level, commit: committedCode(), date: today() },
    ...figures,
    machine: machine(),
  };
  const { level, date, commit, firstSeed } = record;
  const file = join(folder, `${level}-${date}-${commit.slice(0, 9)}-${firstSeed}.json`);
  const text = `${JSON.stringify(record, null, 2)}\n`;
  parseRecord(text, file);
  mkdirSync(folder, { recursive: true });
  writeFileSync(file, text);
  return file;
}

/** The commit whose code runs here. Call it before a long run: it throws when something is not committed. */
export function committedCode(): string {
  const git = (...args: readonly string[]) =>
    execFileSync("git", args, { cwd: ROOT, encoding: "utf8" }).trim();
  const changed = git("status", "--porcelain", "--", ...CODE);
  if (changed !== "") throw new Error(`Commit first, a record names a commit:\n${changed}`);
  return git("rev-parse", "HEAD");
}

/** Of times in any order, rounded to milliseconds. */
export function percentiles(times: readonly number[]): RunRecord["recoveryMs"] {
  const sorted = [...times].sort((a, b) => a - b);
  const at = (share: number) => Math.round(sorted[Math.floor(share * (sorted.length - 1))] ?? 0);
  return { p50: at(0.5), p99: at(0.99), max: at(1), count: sorted.length };
}

function today(): string {
  return new Date().toISOString().slice(0, 10);
}

function machine(): string {
  const gib = Math.round(totalmem() / 2 ** 30);
  return `${availableParallelism()} cores, ${gib} GiB`;
}
