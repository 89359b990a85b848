// A note on disk for each server folder, from before the server first runs until the folder is gone, and for each disk
// that was made for servers: so whatever a crashed or killed test run has left is found and ended by the next one.
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { endProcess, isAlive, type ProcessRecord, recordOf } from "./process.ts";

export const STATE_FOLDER = resolve(import.meta.dirname, "../../.servers");
const NOTES = join(STATE_FOLDER, "running");

export interface RunningServer extends ProcessRecord {
  readonly name: string;
  readonly folder: string;
  readonly endSignal: NodeJS.Signals;
}

interface Note {
  readonly folder: string;
  /** The process that made the folder; when it is gone, the folder is nobody's. */
  readonly owner: ProcessRecord;
  readonly server?: RunningServer;
  /** The loop device of a disk that is mounted there (disk.ts). */
  readonly device?: string;
}

export function rememberFolder(folder: string): void {
  write({ folder, owner: recordOf(process.pid) });
}

export function rememberServer(server: RunningServer): void {
  write({ folder: server.folder, owner: recordOf(process.pid), server });
}

export function rememberDisk(folder: string, device: string): void {
  write({ folder, owner: recordOf(process.pid), device });
}

/** Unmounts it, whoever uses it, and removes it with all that is on it. */
export function releaseDisk(folder: string, device: string): void {
  // Not mounted any more, or not attached: then that is done.
  spawnSync("umount", ["--lazy", folder]);
  spawnSync("losetup", ["--detach", device]);
  rmSync(folder, { recursive: true, force: true });
  rmSync(noteFile(folder), { force: true });
}

/** Removes all that a server has written; the server itself has ended before. */
export function removeFolder(folder: string): void {
  rmSync(folder, { recursive: true, force: true });
  rmSync(noteFile(folder), { force: true });
}

export async function endForGood(server: RunningServer): Promise<void> {
  await endProcess(server, server.endSignal);
  removeFolder(server.folder);
}

/** Ends and removes what no living process owns, but for the servers that are in use. */
export async function sweep(inUse: readonly RunningServer[] = []): Promise<void> {
  const left = notes().filter(
    ({ folder, owner }) => !isAlive(owner) && !inUse.some((each) => each.folder === folder),
  );
  // Servers may stand on disks.
  for (const { folder, server, device } of left) {
    if (server) await endForGood(server);
    else if (device === undefined) removeFolder(folder);
  }
  for (const { folder, device } of left) if (device !== undefined) releaseDisk(folder, device);
}

function write(note: Note): void {
  mkdirSync(NOTES, { recursive: true });
  writeFileSync(noteFile(note.folder), JSON.stringify(note));
}

function noteFile(folder: string): string {
  return join(NOTES, `${basename(folder)}.json`);
}

function notes(): Note[] {
  try {
    return readdirSync(NOTES).map((file) => {
      return JSON.parse(readFileSync(join(NOTES, file), "utf8")) as Note;
    });
  } catch {
    return []; // no run yet, or another one has just removed its note: the next run looks again
  }
}
