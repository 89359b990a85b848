import { chmodSync, chownSync, closeSync, existsSync, openSync, rmSync, statSync } from "node:fs";
import { TidemarkError } from "../../core/errors.ts";
import { rewound } from "../../core/rewound.ts";
import { shellWord } from "../../core/shell.ts";
import type { Connection } from "./connection.ts";
import { classify } from "./errors.ts";
import { missingObjects } from "./ours.ts";

/** What is known of a batch. */
export interface BatchRecord {
  readonly n: bigint;
  readonly prev_hash: string;
  readonly hash: string;
  /** Fixes the content: first and last id, time, and a random word, so that two histories with equal ids still have different hashes. */
  readonly definition: string;
  readonly first_id: bigint;
  readonly last_id: bigint;
  /** When its last row was logged, as that row has it: see {@link Records}. */
  readonly last_at: number;
  readonly cut_at: string;
  readonly committed_at: string;
}

/**
 * - `tidemark_records`: one row. `timeline`: whose records they are. `purged`: batches up to this one have lost their
 *   changes.
 * - `tidemark_batches`: the record of each cut, B1.
 * - `tidemark_subscribers`: for whom the log is kept, and what they have confirmed.
 */
const RECORD_TABLES: Readonly<Record<string, string>> = {
  tidemark_records: `CREATE TABLE tidemark_records (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  timeline TEXT NOT NULL,
  purged INTEGER NOT NULL
)`,
  tidemark_batches: `CREATE TABLE tidemark_batches (
  n INTEGER PRIMARY KEY,
  prev_hash TEXT NOT NULL,
  hash TEXT NOT NULL,
  definition TEXT NOT NULL,
  first_id INTEGER NOT NULL,
  last_id INTEGER NOT NULL,
  last_at REAL NOT NULL,
  cut_at TEXT NOT NULL,
  committed_at TEXT NOT NULL
)`,
  tidemark_subscribers: `CREATE TABLE tidemark_subscribers (
  sync TEXT NOT NULL PRIMARY KEY,
  confirmed INTEGER NOT NULL
) WITHOUT ROWID`,
};

const RECORD = "n, prev_hash, hash, definition, first_id, last_id, last_at, cut_at, committed_at";

/** Beside the source's file, as its `-wal` is. */
export function recordsPath(source: string): string {
  return `${source}-tidemark`;
}

/** Throws TM-CONNECT-FAILED where something else has that name: only a relay would meet it, and try again and again. */
export function assertFileBeside(source: Connection, name: string): void {
  const path = recordsPath(source.path);
  if (!existsSync(path) || statSync(path).isFile()) return;
  const message = `${name}: ${path} is no file. The relay notes its batches in a file of that name.`;
  throw new TidemarkError("TM-CONNECT-FAILED", message, {
    fix: `Move it away: ls -ld ${shellWord(path)}`,
    details: { database: name, path },
  });
}

/**
 * What the relay writes for each cut, in a file of its own beside the source's: in WAL mode SQLite refuses the write of a
 * transaction that has read before another commit, so each commit of ours would cost the application one that was under
 * way (docs/decisions/0041). The log itself stays with the rows, where the triggers write it.
 *
 * So the two can come from different times: a backup may hold one of them, or a power cut take the end of the other. The newest
 * batch names the id and the time of its last row, which the log keeps: where that row is another one, or gone, they do not
 * belong together.
 */
export class Records {
  /** Of that file. */
  readonly connection: Connection;

  private constructor(connection: Connection) {
    this.connection = connection;
  }

  /** Makes the file where it is missing, unless it `must` be there: then that is TM-SOURCE-REWOUND. */
  static async open(source: Connection, must: boolean): Promise<Records> {
    const path = recordsPath(source.path);
    if (!existsSync(path)) {
      if (must) throw apart(source, null);
      makeAlike(path, source);
    }
    const connection = await source.openBeside(path, {
      readOnly: false,
      unreadableFix: fixOf(path),
    });
    try {
      const missing = await connection.read(() => missingObjects(connection, RECORD_TABLES));
      if (missing.length > 0) await connection.write(() => connection.db.exec(missing.join(";")));
    } catch (error) {
      await connection.close();
      throw error;
    }
    return new Records(connection);
  }

  /** Null: none was begun. */
  timeline(): Promise<string | null> {
    return this.connection.read(() => timelineOf(this.connection));
  }

  /** Forgets all there was. */
  async begin(timeline: string): Promise<void> {
    const { connection } = this;
    await connection.write(() => {
      for (const table of Object.keys(RECORD_TABLES)) connection.run(`DELETE FROM ${table}`);
      connection.run(
        "INSERT INTO tidemark_records (id, timeline, purged) VALUES (1, ?, 0)",
        timeline,
      );
    });
  }

  last(): Promise<BatchRecord | undefined> {
    return this.connection.read(() => this.#last());
  }

  find(batch: number | bigint): Promise<BatchRecord | undefined> {
    return this.connection.read(() =>
      this.connection.row<BatchRecord & object>(
        `SELECT ${RECORD} FROM tidemark_batches WHERE n = ?`,
        BigInt(batch),
      ),
    );
  }

  /** Of the first batch behind this one, the first id. */
  firstIdAfter(batch: bigint): Promise<bigint | undefined> {
    return this.connection.read(
      () =>
        this.connection.value(
          "SELECT first_id FROM tidemark_batches WHERE n > ? ORDER BY n LIMIT 1",
          batch,
        ) as bigint | undefined,
    );
  }

  /** Throws TM-RELAY-FENCED when `last` is not the newest any more. */
  async add(record: BatchRecord, last: BatchRecord | undefined): Promise<void> {
    const { connection } = this;
    await connection.write(() => {
      if (this.#last()?.hash !== last?.hash) {
        throw new TidemarkError(
          "TM-RELAY-FENCED",
          `${connection.name}: another relay has cut a batch of this source.`,
        );
      }
      connection.run(
        `INSERT INTO tidemark_batches (${RECORD}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`,
        record.n,
        record.prev_hash,
        record.hash,
        record.definition,
        record.first_id,
        record.last_id,
        record.last_at,
        record.cut_at,
        record.committed_at,
      );
    });
  }

  purged(): Promise<bigint> {
    return this.connection.read(
      () => this.connection.value("SELECT purged FROM tidemark_records") as bigint,
    );
  }

  /** Durable before a row goes: once one may be missing, nobody may take the batch for whole. */
  async markPurged(batch: bigint): Promise<void> {
    const { connection } = this;
    await connection.write(() => {
      connection.run("UPDATE tidemark_records SET purged = max(purged, ?)", batch);
      connection.run(
        "DELETE FROM tidemark_batches WHERE n <= ? AND n < (SELECT max(n) FROM tidemark_batches)",
        batch,
      );
    });
  }

  close(): Promise<void> {
    return this.connection.close();
  }

  #last(): BatchRecord | undefined {
    return this.connection.row<BatchRecord & object>(
      `SELECT ${RECORD} FROM tidemark_batches ORDER BY n DESC LIMIT 1`,
    );
  }
}

/** The log does not tell what was sent of it: they cannot be made anew. */
function fixOf(path: string): string {
  return `With every tidemark run ended: put ${shellWord(path)} there as it was at the same moment as the database. Else source and targets must begin anew, and tidemark uninstall takes the damaged file away: see docs/errors/TM-SOURCE-REWOUND.md.`;
}

/** Whoever may write the source may write it: the next relay may be another user's. */
function makeAlike(path: string, source: Connection): void {
  const { mode, uid, gid } = statSync(source.path);
  try {
    // SQLite would fail at the first write only, and say no more than that it cannot open the file.
    statSync(`${path}-journal`, { throwIfNoEntry: false });
    closeSync(openSync(path, "a"));
    chmodSync(path, mode & 0o777);
    if (process.getuid?.() === 0) chownSync(path, uid, gid);
  } catch (error) {
    throw classify(error, `${source.name} (${path})`);
  }
}

/** What `look` finds there, without the relay's lease. Null: there are none. */
export async function lookAtRecords<T>(
  source: Connection,
  look: (records: Connection) => T,
): Promise<T | null> {
  const path = recordsPath(source.path);
  if (!existsSync(path)) return null;
  const records = await source.openBeside(path, { readOnly: true, unreadableFix: fixOf(path) });
  try {
    return await records.read(() =>
      missingObjects(records, RECORD_TABLES).length > 0 ? null : look(records),
    );
  } finally {
    await records.close();
  }
}

/** Null: none was begun. */
export function timelineOf(records: Connection): string | null {
  const found = records.value("SELECT timeline FROM tidemark_records");
  return typeof found === "string" ? found : null;
}

/** For people: what {@link removeRecords} does. */
export function planRemoval(source: string): readonly string[] {
  const path = recordsPath(source);
  return existsSync(path) ? [`-- the file ${path} goes, too`] : [];
}

/** Nothing may use them any more. */
export function removeRecords(source: Connection): void {
  const path = recordsPath(source.path);
  try {
    for (const tail of ["-wal", "-shm", "-journal", ""]) rmSync(`${path}${tail}`, { force: true });
  } catch (error) {
    throw classify(error, `${source.name} (${path})`);
  }
}

/** `found`: the timeline of the records that are there; null: there are none. */
export function apart(source: Connection, found: string | null): TidemarkError {
  const path = recordsPath(source.path);
  const what =
    found === null
      ? "is not there, or is empty: the database was moved or restored without it"
      : "is of another history of this database: one of the two was restored without the other";
  return rewound(
    `${source.name}: ${path}, which tells what of the change log was sent, ${what}.`,
    { path },
    "Where it is to be had as it was at the same moment, put it there and start again. Else source and targets must begin anew: see docs/errors/TM-SOURCE-REWOUND.md.",
  );
}
