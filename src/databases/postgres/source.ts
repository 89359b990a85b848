import type { DatabaseOptions, Finding } from "../../core/database.ts";
import type {
  CapturePlan,
  CaptureTable,
  ChangeLog,
  Source,
  SourceCapabilities,
} from "../../core/source.ts";
import { planCapture } from "./capture-plan.ts";
import { PostgresChangeLog } from "./change-log.ts";
import type { Connection } from "./connection.ts";
import { diagnoseSource } from "./doctor.ts";
import { identityOf } from "./identity.ts";
import { openOwned } from "./ours.ts";

export class PostgresSource implements Source {
  readonly capabilities: SourceCapabilities = {
    truncate: true,
    streamsChunks: true,
  };
  readonly #options: DatabaseOptions;
  readonly #connection: Connection;
  /** Was the lease another's when it was last asked for? */
  #standsBy = false;

  private constructor(options: DatabaseOptions, connection: Connection) {
    this.#options = options;
    this.#connection = connection;
  }

  static async open(options: DatabaseOptions): Promise<PostgresSource> {
    return new PostgresSource(options, await openOwned(options, "source"));
  }

  identity(): Promise<string | null> {
    return identityOf(this.#connection);
  }

  planCapture(tables: readonly CaptureTable[]): Promise<CapturePlan> {
    return planCapture(this.#connection, tables);
  }

  diagnose(tables: readonly CaptureTable[]): Promise<readonly Finding[]> {
    return diagnoseSource(this.#connection, tables);
  }

  /** Its sessions come as they are needed: all of them with the server that `identity` tells. */
  async openChangeLog(): Promise<ChangeLog | null> {
    const only = (await this.identity()) ?? undefined;
    const isEager = !this.#standsBy;
    const log = await PostgresChangeLog.open({ ...this.#options, only, isEager });
    this.#standsBy = log === null;
    return log;
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
