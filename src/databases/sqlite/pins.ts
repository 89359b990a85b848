import { TidemarkError } from "../../core/errors.ts";
import type { Connection } from "./connection.ts";
import { foldName, quoteText } from "./identifiers.ts";
import { MARK } from "./ours.ts";

/** Notices that tables were altered, or made anew, since they were looked at. Costs one pragma while nothing is. */
export class Pins {
  readonly #connection: Connection;
  readonly #tables: string;
  readonly #pin: unknown;
  #version: unknown;

  constructor(connection: Connection, tables: readonly string[]) {
    this.#connection = connection;
    this.#tables = tables.map((table) => quoteText(foldName(table))).join(", ");
    this.#version = this.#versionNow();
    this.#pin = this.#pinNow();
  }

  /**
   * Within a write transaction: nobody alters anything until it ends, nor has since it began. Throws
   * TM-APPLY-RETRY.
   */
  check(): void {
    const version = this.#versionNow();
    if (version === this.#version) return;
    if (this.#pinNow() !== this.#pin) {
      throw new TidemarkError(
        "TM-APPLY-RETRY",
        `${this.#connection.name}: a table was altered: what was not committed is written again, as it now is.`,
      );
    }
    this.#version = version;
  }

  /** SQLite counts every change of the schema. */
  #versionNow(): unknown {
    return this.#connection.value("PRAGMA schema_version");
  }

  /** The statements that made the tables, their indexes and marks. */
  #pinNow(): unknown {
    return this.#connection.value(
      `SELECT group_concat(type || ' ' || name || ' ' || coalesce(sql, ''), char(10) ORDER BY name)
       FROM sqlite_schema WHERE (type IN ('table', 'index') OR name GLOB '${MARK}*') AND lower(tbl_name) IN (${this.#tables})`,
    );
  }
}
