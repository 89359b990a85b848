// A note on disk for each server that runs, so that whatever a crashed or killed test run has left
// is found and ended by the next one, or by `node scripts/servers.mjs stop`.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { endProcess, isAlive, type ProcessRecord, recordOf } from "./process.ts";

export const STATE_FOLDER = resolve(import.meta.dirname, "../../.servers");
const RUNNING_FOLDER = join(STATE_FOLDER, "running");

export interface RunningServer extends ProcessRecord {
  readonly name: string;
  readonly folder: string;
  readonly endSignal: NodeJS.Signals;
}

interface Note extends RunningServer {
  /** The process that started it; when it is gone, the server is nobody's. */
  readonly owner: ProcessRecord;
}

export function remember(server: RunningServer): void {
  mkdirSync(RUNNING_FOLDER, { recursive: true });
  const note: Note = { ...server, owner: recordOf(process.pid) };
  writeFileSync(noteFile(server), JSON.stringify(note));
}

export function forget(server: ProcessRecord): void {
  rmSync(noteFile(server), { force: true });
}

/** Ends a server and removes all it has written. */
export async function endForGood(server: RunningServer): Promise<void> {
  await endProcess(server, server.endSignal);
  rmSync(server.folder, { recursive: true, force: true });
  forget(server);
}

/** Ends the servers whose owner is gone, but for those the caller knows to be in use. */
export async function sweep(inUse: readonly ProcessRecord[] = []): Promise<string[]> {
  const ended: string[] = [];
  for (const note of notes()) {
    if (inUse.some((each) => each.pid === note.pid)) continue;
    if (isAlive(note.owner) && isAlive(note)) continue;
    if (isAlive(note)) ended.push(note.name);
    await endForGood(note);
  }
  return ended;
}

function noteFile(server: ProcessRecord): string {
  return join(RUNNING_FOLDER, `${server.pid}.json`);
}

function notes(): Note[] {
  try {
    return readdirSync(RUNNING_FOLDER).map((file) => {
      return JSON.parse(readFileSync(join(RUNNING_FOLDER, file), "utf8")) as Note;
    });
  } catch {
    return [];
  }
}
