import { TidemarkError } from "../../core/errors.ts";
import type { DocumentEntry, Documents, StandingDocument } from "../../core/queue.ts";
import type { QueueConnection } from "./connection.ts";
import type { QueueDatabase } from "./database.ts";

/**
 * Documents: a table with a counter of writes. A watcher asks for what was written since it looked
 * last; that merges quick successive writes of a key by itself.
 */
export class SqliteDocuments implements Documents {
  readonly #connection: QueueConnection;

  constructor(connection: QueueConnection) {
    this.#connection = connection;
  }

  put(key: string, value: unknown): Promise<void> {
    const text = JSON.stringify(value ?? null);
    return this.#connection.write("documents", text.length, (database) =>
      write(database, key, text),
    );
  }

  read(key: string): Promise<StandingDocument> {
    return this.#connection.read((database) => standing(database, key));
  }

  replace(key: string, value: unknown, revision: number): Promise<number> {
    const text = JSON.stringify(value ?? null);
    return this.#connection.write("documents", text.length, (database) => {
      mustStandAt(database, key, revision);
      write(database, key, text);
      return standing(database, key).revision;
    });
  }

  remove(key: string, revision?: number): Promise<void> {
    return this.#connection.write("documents", 0, (database) => {
      if (revision !== undefined) mustStandAt(database, key, revision);
      if ((rowOf(database, key)?.value ?? null) !== null) write(database, key, null);
    });
  }

  async get(key: string): Promise<unknown | null> {
    return (await this.read(key)).value;
  }

  list(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    return this.#connection.read((database) => {
      const rows = database.rows("SELECT key, value FROM document WHERE value IS NOT NULL");
      return new Map(
        rows
          .filter((row) => String(row.key).startsWith(prefix))
          .map((row) => [String(row.key), JSON.parse(String(row.value))]),
      );
    });
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncGenerator<DocumentEntry> {
    const connection = this.#connection;
    const ended = AbortSignal.any([signal, connection.closed]);
    /** Keys told with a value: a removal is news only for these. */
    const standing = new Set<string>();
    let generation = connection.generation;
    let revision = 0;
    while (!ended.aborted) {
      const seen = connection.wakeup.version("documents");
      const rows = await connection.read((database) => writtenAfter(database, revision));
      if (connection.generation !== generation) {
        // Another file now: what stands there, and that the rest is gone.
        generation = connection.generation;
        revision = 0;
        for (const key of await this.#goneFrom(standing)) yield { key, value: null };
        continue;
      }
      for (const row of rows) {
        if (ended.aborted) return;
        revision = row.revision;
        if (!row.key.startsWith(prefix)) continue;
        if (row.value === null && !standing.delete(row.key)) continue;
        if (row.value !== null) standing.add(row.key);
        yield { key: row.key, value: row.value === null ? null : JSON.parse(row.value) };
      }
      if (rows.length === 0) await connection.changed("documents", seen, ended);
    }
  }

  async #goneFrom(standing: Set<string>): Promise<string[]> {
    const present = await this.list("");
    const gone = [...standing].filter((key) => !present.has(key));
    for (const key of gone) standing.delete(key);
    return gone;
  }
}

interface DocumentRow {
  readonly key: string;
  readonly value: string | null;
  readonly revision: number;
}

function writtenAfter(database: QueueDatabase, revision: number): DocumentRow[] {
  return database.rows(
    "SELECT key, value, revision FROM document WHERE revision > ? ORDER BY revision LIMIT 1000",
    revision,
  ) as unknown as DocumentRow[];
}

function standing(database: QueueDatabase, key: string): StandingDocument {
  const row = rowOf(database, key);
  const text = row?.value ?? null;
  return { value: text === null ? null : JSON.parse(text), revision: row?.revision ?? 0 };
}

function mustStandAt(database: QueueDatabase, key: string, revision: number): void {
  const found = standing(database, key).revision;
  if (found === revision) return;
  throw new TidemarkError(
    "TM-QUEUE-CONFLICT",
    `The document "${key}" stands at revision ${found}, not at ${revision}.`,
  );
}

function rowOf(database: QueueDatabase, key: string): Omit<DocumentRow, "key"> | null {
  return (database.row("SELECT value, revision FROM document WHERE key = ?", key) ?? null) as Omit<
    DocumentRow,
    "key"
  > | null;
}

function write(database: QueueDatabase, key: string, value: string | null): void {
  database.run(
    `INSERT INTO document (key, value, revision)
     VALUES (?, ?, (SELECT coalesce(max(revision), 0) + 1 FROM document))
     ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision`,
    key,
    value,
  );
}
