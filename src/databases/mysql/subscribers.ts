import type { LogHolder } from "../../core/database.ts";
import type { Subscribers } from "../../core/source.ts";
import type { Session } from "./connection.ts";
import { quoteText } from "./identifiers.ts";
import { SUBSCRIBERS, standingTables } from "./ours.ts";

export class MysqlSubscribers implements Subscribers {
  readonly #session: Session;

  constructor(session: Session) {
    this.#session = session;
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#session.rows(`SELECT sync, confirmed FROM ${SUBSCRIBERS}`);
    return new Map(rows.map(([sync, confirmed]) => [sync ?? "", Number(confirmed)]));
  }

  async set(sync: string, confirmed: number): Promise<void> {
    await this.#session.run(
      `INSERT INTO ${SUBSCRIBERS} (sync, confirmed, updated_at) VALUES (?, ?, UTC_TIMESTAMP(6))
       ON DUPLICATE KEY UPDATE confirmed = VALUES(confirmed), updated_at = VALUES(updated_at)`,
      [sync, confirmed],
    );
  }

  async remove(sync: string): Promise<void> {
    await this.#session.run(`DELETE FROM ${SUBSCRIBERS} WHERE sync = ?`, [sync]);
  }
}

/** Without the relay's lease. Null: there is no change log. */
export async function logHolders(session: Session): Promise<readonly LogHolder[] | null> {
  if (!(await standingTables(session)).has(SUBSCRIBERS)) return null;
  const rows = await session.rows(`SELECT sync, confirmed FROM ${SUBSCRIBERS} ORDER BY sync`);
  return rows.map(([sync, confirmed]) => ({
    sync: sync ?? "",
    confirmed: Number(confirmed),
    release: `DELETE FROM ${SUBSCRIBERS} WHERE sync = ${quoteText(sync ?? "")}`,
  }));
}
