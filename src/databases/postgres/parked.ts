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
import { OUR_SCHEMA } from "./identifiers.ts";

export class PostgresParked implements ParkedRows {
  readonly table = { schema: OUR_SCHEMA, name: "parked" };
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async list(sync: string | null): Promise<readonly ParkedEntry[]> {
    const [found] = await this.#connection.rows("SELECT to_regclass('tidemark.parked')");
    if (found?.[0] === null) return [];
    const rows = await this.#connection.rows(
      `SELECT ${ENTRY_COLUMNS} FROM tidemark.parked
       WHERE $1::text IS NULL OR sync = $1 ORDER BY parked_at, id`,
      [sync],
    );
    return rows.map(parkedEntry);
  }

  async read(sync: string, id: string): Promise<ParkedRow | null> {
    const [row] = await this.#connection.rows(
      `SELECT ${ROW_COLUMNS} FROM tidemark.parked WHERE sync = $1 AND id = $2`,
      [sync, id],
    );
    return row === undefined ? null : parkedRow(row);
  }
}
