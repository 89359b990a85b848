import type { Subscribers } from "../../core/source.ts";
import type { Session } from "./connection.ts";
import { SUBSCRIBERS } from "./ours.ts";

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
