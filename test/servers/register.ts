// A note on disk for each server folder, from before the server first runs until the folder is gone:
// so whatever a crashed or killed test run has left is found and ended by the next one.
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
}

export function rememberFolder(folder: string): void {
  write({ folder, owner: recordOf(process.pid) });
}

export function rememberServer(server: RunningServer): void {
  write({ folder: server.folder, owner: recordOf(process.pid), server });
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
  for (const { folder, owner, server } of notes()) {
    if (isAlive(owner) || inUse.some((each) => each.folder === folder)) continue;
    if (server) await endForGood(server);
    else removeFolder(folder);
  }
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
