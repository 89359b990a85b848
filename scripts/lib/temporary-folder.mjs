// Servers that sync what they write to a disk keep a core busy with it. Where there is memory to spare, their files and those
// of the tests lie in it: the servers are told to sync all the same.
import { readFileSync, statfsSync } from "node:fs";

const MEMORY = "/dev/shm";
const GIB = 2 ** 30;
/** Of the file system: a whole run takes up to 7 GB of it for a while, most of them binary logs of rows of many megabytes. */
const ROOM = 10 * GIB;
/** Of the machine: its programs need up to 5 GB as well. */
const FREE = 14 * GIB;

/** `env` with TMPDIR, where none is named and there is room in memory. */
export function withTemporaryFolder(env) {
  return env.TMPDIR || !hasRoom() ? env : { ...env, TMPDIR: MEMORY };
}

function hasRoom() {
  try {
    const { bavail, bsize } = statfsSync(MEMORY);
    const [, available] = /^MemAvailable: +(\d+) kB$/m.exec(readFileSync("/proc/meminfo", "utf8"));
    const allowed = process.constrainedMemory?.() || Number.POSITIVE_INFINITY;
    return bavail * bsize >= ROOM && Math.min(Number(available) * 1024, allowed) >= FREE;
  } catch {
    return false; // no Linux
  }
}
