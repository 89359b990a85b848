// Memory and processor time of other processes, as the kernel counts them (Linux only).
import { readFileSync } from "node:fs";

/** Ticks of the kernel's accounting: 100 a second on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** The most memory that the process has had resident, in MB; null where there is no /proc. */
export function peakMemoryMb(pid: number): number | null {
  const line = read(`/proc/${pid}/status`)?.match(/^VmHWM:\s+(\d+) kB$/m);
  return line ? Number(line[1]) / 1024 : null;
}

/** Processor time that the process has used so far, in seconds. */
export function processorSeconds(pid: number): number | null {
  const text = read(`/proc/${pid}/stat`);
  if (text === null) return null;
  // The second field is the program's name in brackets and may hold spaces.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

function read(path: string): string | null {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return null;
  }
}
