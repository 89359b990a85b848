import {
  ENTRY_COLUMNS,
  type ParkedEntry,
  type ParkedRow,
  type ParkedRows,
  parkedEntry,
  parkedRow,
  ROW_COLUMNS,
} from "../../core/parked.ts";
import type { Connection } from "./connection.ts";
import { missingObjects, PARKED, TARGET_TABLES } from "./ours.ts";

export class SqliteParked implements ParkedRows {
  readonly table = { schema: null, name: PARKED };
  /** The target opens its file anew when it makes it. */
  readonly #connection: () => Connection;

  constructor(connection: () => Connection) {
    this.#connection = connection;
  }

  async list(sync: string | null): Promise<readonly ParkedEntry[]> {
    const connection = this.#connection();
    return connection.read(() => {
      if (missingObjects(connection, { [PARKED]: TARGET_TABLES[PARKED] ?? "" }).length > 0)
        return [];
      const rows = connection.rows<Record<string, unknown>>(
        `SELECT ${ENTRY_COLUMNS} FROM ${PARKED} WHERE coalesce(?, sync) = sync ORDER BY parked_at, id`,
        sync,
      );
      return rows.map((row) => parkedEntry(Object.values(row)));
    });
  }

  async read(sync: string, id: string): Promise<ParkedRow | null> {
    const connection = this.#connection();
    return connection.read(() => {
      const row = connection.row<Record<string, unknown>>(
        `SELECT ${ROW_COLUMNS} FROM ${PARKED} WHERE sync = ? AND id = ?`,
        sync,
        id,
      );
      return row === undefined ? null : parkedRow(Object.values(row));
    });
  }
}
