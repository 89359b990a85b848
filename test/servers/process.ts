// One server process: started apart from the process that asked for it, found again by its pid and
// its start time (a pid alone may be another program's by now), and ended by that pid only.
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Account } from "./account.ts";

/** Enough to find a process again, also from another process and after a crash of ours. */
export interface ProcessRecord {
  readonly pid: number;
  /** Kernel start time in ticks since boot; empty where the system has no /proc. */
  readonly startedAt: string;
}

export interface SpawnOptions {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly logFile: string;
  readonly account: Account | undefined;
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a server in a session of its own, so that Ctrl-C ends the tests and not yet the server. */
export function spawnServer(options: SpawnOptions): ChildProcess {
  const log = openSync(options.logFile, "a");
  try {
    const child = spawn(options.command, options.args, {
      cwd: options.cwd,
      detached: true,
      stdio: ["ignore", log, log],
      env: { ...process.env, HOME: options.cwd, TZ: "UTC", ...options.env },
      ...options.account,
    });
    child.unref();
    return child;
  } finally {
    closeSync(log);
  }
}

export function recordOf(pid: number): ProcessRecord {
  return { pid, startedAt: statOf(pid)?.startedAt ?? "" };
}

/**
 * True while this very process runs; a zombie and a reused pid count as gone. A zombie with threads
 * is one whose other threads still end: its ports are not free yet.
 */
export function isAlive(record: ProcessRecord): boolean {
  if (existsSync("/proc/self/stat")) {
    const stat = statOf(record.pid);
    return stat !== undefined && stat.startedAt === record.startedAt && !stat.isZombie;
  }
  try {
    process.kill(record.pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Asks the process to end and takes it down by force when it has not after `graceMs`. */
export async function endProcess(
  record: ProcessRecord,
  signal: NodeJS.Signals,
  graceMs = 20_000,
): Promise<void> {
  send(record, signal);
  if (await goneWithin(record, graceMs)) return;
  await killTree(record);
}

/**
 * SIGKILL to the process and its direct children, as a power cut would. PostgreSQL's backends are
 * sessions of their own and would go on for a moment, holding the shared memory of the old server.
 */
export async function killTree(record: ProcessRecord): Promise<void> {
  if (!isAlive(record)) return;
  const children = childrenOf(record.pid).map(recordOf);
  for (const each of [record, ...children]) send(each, "SIGKILL");
  for (const each of [record, ...children]) await goneWithin(each, 10_000);
}

/** To the process and its direct children. */
export function signalTree(record: ProcessRecord, signal: NodeJS.Signals): void {
  for (const each of [record, ...childrenOf(record.pid).map(recordOf)]) send(each, signal);
}

function send(record: ProcessRecord, signal: NodeJS.Signals): void {
  if (!isAlive(record)) return;
  try {
    process.kill(record.pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

async function goneWithin(record: ProcessRecord, ms: number): Promise<boolean> {
  const deadline = Date.now() + ms;
  while (isAlive(record)) {
    if (Date.now() > deadline) return false;
    await sleep(10);
  }
  return true;
}

function statOf(pid: number) {
  try {
    const line = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The second field is the name in parentheses and may itself hold spaces and parentheses.
    const fields = line.slice(line.lastIndexOf(")") + 2).split(" ");
    return {
      isZombie: fields[0] === "Z" && Number(fields[17]) <= 1,
      parent: Number(fields[1]),
      startedAt: fields[19] ?? "",
    };
  } catch {
    return undefined;
  }
}

function childrenOf(pid: number): number[] {
  if (!existsSync("/proc/self/stat")) return [];
  return readdirSync("/proc")
    .map(Number)
    .filter((each) => each > 0 && statOf(each)?.parent === pid);
}
