import type { DatabaseOptions, Finding } from "../../core/database.ts";
import type {
  CapturePlan,
  CaptureTable,
  ChangeLog,
  Source,
  SourceCapabilities,
} from "../../core/source.ts";
import { widenLog } from "./capture.ts";
import { anchorOf, planTables, SqliteChangeLog } from "./change-log.ts";
import { Connection } from "./connection.ts";
import { diagnoseSource, recordsFindings } from "./doctor.ts";
import { identityOf } from "./identity.ts";
import { Layouts } from "./layouts.ts";
import { takeLease } from "./lease.ts";
import { requireWritableUrl } from "./location.ts";
import { missingOfSource } from "./ours.ts";
import { assertFileBeside, recordsPath } from "./records.ts";

export class SqliteSource implements Source {
  readonly capabilities: SourceCapabilities = {
    // SQLite has no TRUNCATE: `DELETE FROM t` fires the triggers row by row.
    truncate: false,
    streamsChunks: false,
  };
  readonly #options: DatabaseOptions;
  readonly #connection: Connection;

  private constructor(options: DatabaseOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
  }

  static async open(options: DatabaseOptions): Promise<Source> {
    const connection = await Connection.open(options, { create: false });
    try {
      assertFileBeside(connection, options.name);
    } catch (error) {
      await connection.close();
      throw error;
    }
    return new SqliteSource(options, connection);
  }

  async identity(): Promise<string | null> {
    return identityOf(this.#connection.path);
  }

  planCapture(tables: readonly CaptureTable[]): Promise<CapturePlan> {
    const connection = this.#connection;
    return connection.read(() => {
      const ours = missingOfSource(connection);
      const installed = ours.length === 0 ? new Layouts(connection) : null;
      const plans = planTables(connection, installed, tables);
      const shapes = plans.map(({ shape }) => shape);
      const triggers = plans.flatMap(({ statements }) => statements);
      return {
        statements: [
          ...ours,
          ...widenLog(connection, shapes),
          ...triggers,
          ...anchorOf(connection, plans),
        ],
        notes: [
          ...(ours.length === 0
            ? []
            : [`what is sent of the log is noted in ${recordsPath(connection.path)}`]),
          ...shapes.map(
            ({ facts }) =>
              `${facts.name}: row triggers that log the row as it stands${facts.uniques.length > 0 ? ", and rows that a REPLACE displaces" : ""}`,
          ),
        ],
      };
    });
  }

  async diagnose(tables: readonly CaptureTable[]): Promise<readonly Finding[]> {
    const connection = this.#connection;
    const findings = await connection.read(() => diagnoseSource(connection, tables));
    const isLost = findings.some(({ check }) => check === "log-lost" || check === "log-version");
    return isLost ? findings : [...findings, ...(await recordsFindings(connection))];
  }

  async openChangeLog(): Promise<ChangeLog | null> {
    requireWritableUrl(this.#options);
    const lease = takeLease(this.#connection.path, "relay");
    if (lease === null) return null;
    try {
      return await SqliteChangeLog.open(this.#options, lease);
    } catch (error) {
      lease.release();
      throw error;
    }
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
