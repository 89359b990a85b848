import {
  ENTRY_COLUMNS,
  type ParkedEntry,
  type ParkedRow,
  type ParkedRows,
  parkedEntry,
  parkedRow,
  ROW_COLUMNS,
} from "../../core/parked.ts";
import type { Session } from "./connection.ts";
import { PARKED, standingTables } from "./ours.ts";

export class MysqlParked implements ParkedRows {
  readonly table = { schema: null, name: PARKED };
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async list(sync: string | null): Promise<readonly ParkedEntry[]> {
    if (!(await standingTables(this.#session)).has(PARKED)) return [];
    const rows = await this.#session.rows(
      `SELECT ${ENTRY_COLUMNS} FROM ${PARKED} WHERE ? IS NULL OR sync = ? ORDER BY parked_at, id`,
      [sync, sync],
    );
    return rows.map(parkedEntry);
  }

  async read(sync: string, id: string): Promise<ParkedRow | null> {
    const [row] = await this.#session.rows(
      `SELECT ${ROW_COLUMNS} FROM ${PARKED} WHERE sync = ? AND id = ?`,
      [sync, id],
    );
    return row === undefined ? null : parkedRow(row);
  }
}
