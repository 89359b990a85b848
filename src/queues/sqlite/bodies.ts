import { randomUUID } from "node:crypto";
import { closeSync, openSync, readdirSync, readSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { makeFolder } from "../../core/make-folder.ts";
import type { QueueMessage } from "../../core/queue.ts";

/** Smaller ones cost less in the queue file. */
const LEAST_BYTES = 64 * 1024;
/** A file that no row names by then never will be named: between its writing and the row's there are milliseconds. */
const ORPHAN_MS = 10 * 60_000;

/**
 * The large bodies of copies, those of a chunk in one file, in a folder beside the queue file. In SQLite's pages
 * each would be written twice and synced on the way, for a life of a second. These are not synced: a copy goes on
 * from what the target has, and what a power cut takes of it is found out by its checksum and read again
 * (docs/decisions/0022-bodies-of-copies.md).
 */
export class Bodies {
  readonly #folder: string;
  /** By stream: the file of the chunk that is being appended. */
  readonly #written = new Map<number, { name: string; file: number; size: number }>();

  constructor(queueFile: string) {
    this.#folder = `${queueFile}-bodies`;
  }

  static takes({ mark, body }: QueueMessage): boolean {
    return mark.chunk > 0 && body.length >= LEAST_BYTES;
  }

  /** Gives what stands in the row instead of the body. */
  write(stream: number, { mark, body }: QueueMessage): string {
    const isFirst = mark.piece === 0 && mark.fragment === 0;
    const known = isFirst ? undefined : this.#written.get(stream);
    const into = known ?? this.#begin(stream);
    const start = into.size;
    for (let written = 0; written < body.length; ) {
      written += writeSync(into.file, body, written, body.length - written, start + written);
    }
    into.size += body.length;
    return `${into.name}:${body.length}:${start}`;
  }

  /** Short or empty when it is gone: nobody then takes it for whole. */
  read(reference: string): Uint8Array {
    const [name = "", length = "", start = ""] = reference.split(":");
    // Memory of its own: whoever was given it may give it back.
    const body = Buffer.allocUnsafeSlow(Number(length));
    let read = 0;
    try {
      const file = openSync(join(this.#folder, name), "r");
      try {
        for (let more = -1; more !== 0 && read < body.length; read += more) {
          more = readSync(file, body, read, body.length - read, Number(start) + read);
        }
      } finally {
        closeSync(file);
      }
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
    return body.subarray(0, read);
  }

  /** Call when no row names the file any more. */
  remove(file: string): void {
    // While it is open its space is not free.
    for (const [stream, { name }] of this.#written) if (name === file) this.#end(stream);
    rmSync(join(this.#folder, file), { force: true });
  }

  close(): void {
    for (const stream of [...this.#written.keys()]) this.#end(stream);
  }

  /** Removes what a process has left behind that was killed between a file and its row, and what a lost queue file named. */
  removeOrphans(references: () => ReadonlySet<string>): void {
    const names = this.#old();
    if (names.length === 0) return;
    const named = new Set([...references()].map(fileOf));
    for (const name of names) {
      if (!named.has(name)) rmSync(join(this.#folder, name), { force: true });
    }
  }

  #old(): string[] {
    try {
      const before = Date.now() - ORPHAN_MS;
      return readdirSync(this.#folder).filter((name) => {
        const stat = statSync(join(this.#folder, name), { throwIfNoEntry: false });
        return stat !== undefined && stat.mtimeMs < before;
      });
    } catch (error) {
      if (isMissing(error)) return [];
      throw error;
    }
  }

  #begin(stream: number): { name: string; file: number; size: number } {
    this.#end(stream);
    const name = randomUUID();
    const into = { name, file: this.#create(name), size: 0 };
    this.#written.set(stream, into);
    return into;
  }

  #end(stream: number): void {
    const before = this.#written.get(stream);
    this.#written.delete(stream);
    if (before !== undefined) closeSync(before.file);
  }

  #create(name: string): number {
    const create = () => openSync(join(this.#folder, name), "wx", 0o600);
    try {
      return create();
    } catch (error) {
      if (!isMissing(error)) throw error;
      makeFolder(this.#folder, 0o700);
      return create();
    }
  }
}

/** SQL: how many bytes a row's body has, wherever it stands. Of one in the row only its head is read. */
export const BODY_SIZE =
  "CASE WHEN typeof(body) = 'text' THEN CAST(substr(body, instr(body, ':') + 1) AS INTEGER) ELSE length(body) END";

/** The file that a reference names. */
export function fileOf(reference: string): string {
  return reference.slice(0, reference.indexOf(":"));
}

function isMissing(error: unknown): boolean {
  return (error as { code?: unknown } | null)?.code === "ENOENT";
}
