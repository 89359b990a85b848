import type { DatabaseOptions, Finding } from "../../core/database.ts";
import type { CapturePlan, CaptureTable, ChangeLog, Source } from "../../core/source.ts";
import { planCapture } from "./capture.ts";
import { MysqlChangeLog } from "./change-log.ts";
import { Session } from "./connection.ts";
import { diagnoseSource } from "./doctor.ts";
import { LOOK_SECONDS, tellWhoHolds } from "./held.ts";
import { identityOf } from "./identity.ts";

export class MysqlSource implements Source {
  readonly capabilities = {
    truncate: false,
    streamsChunks: false,
  } as const;
  readonly #options: DatabaseOptions;
  readonly #session: Session;

  private constructor(options: DatabaseOptions, session: Session) {
    this.#options = options;
    this.#session = session;
  }

  static async open(options: DatabaseOptions): Promise<MysqlSource> {
    const session = { isolation: "READ COMMITTED", tableLockSeconds: LOOK_SECONDS } as const;
    return new MysqlSource(options, await Session.open(options, session));
  }

  identity(): Promise<string | null> {
    return identityOf(this.#session);
  }

  planCapture(tables: readonly CaptureTable[]): Promise<CapturePlan> {
    return tellWhoHolds(this.#session, () => planCapture(this.#session, tables));
  }

  diagnose(tables: readonly CaptureTable[]): Promise<readonly Finding[]> {
    return diagnoseSource(this.#session, tables);
  }

  /** Its sessions come as they are needed: all of them with the server that `identity` tells. */
  async openChangeLog(): Promise<ChangeLog | null> {
    const only = (await this.identity()) ?? undefined;
    return MysqlChangeLog.open({ ...this.#options, only });
  }

  close(): Promise<void> {
    return this.#session.close();
  }
}
