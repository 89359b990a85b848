import type { LogHolder } from "../../core/database.ts";
import type { Mutex } from "../../core/mutex.ts";
import type { Subscribers } from "../../core/source.ts";
import type { Connection } from "./connection.ts";
import { quoteLiteral } from "./identifiers.ts";

export class PostgresSubscribers implements Subscribers {
  readonly #control: Connection;
  readonly #mutex: Mutex;

  constructor(control: Connection, mutex: Mutex) {
    this.#control = control;
    this.#mutex = mutex;
  }

  async list(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.#mutex.run(() =>
      this.#control.rows("SELECT sync, confirmed FROM tidemark.subscribers ORDER BY sync"),
    );
    return new Map(rows.map(([sync, confirmed]) => [sync as string, Number(confirmed)]));
  }

  async set(sync: string, confirmed: number): Promise<void> {
    await this.#mutex.run(() =>
      this.#control.run(
        `INSERT INTO tidemark.subscribers (sync, confirmed) VALUES ($1, $2)
         ON CONFLICT (sync) DO UPDATE SET confirmed = excluded.confirmed, updated_at = clock_timestamp()
         WHERE subscribers.confirmed <> excluded.confirmed`,
        [sync, String(confirmed)],
        "subscriber_set",
      ),
    );
  }

  async remove(sync: string): Promise<void> {
    await this.#mutex.run(() =>
      this.#control.run("DELETE FROM tidemark.subscribers WHERE sync = $1", [sync]),
    );
  }
}

/** Without the relay's lease. Null: there is no change log. */
export async function logHolders(connection: Connection): Promise<readonly LogHolder[] | null> {
  const [found] = await connection.rows("SELECT to_regclass('tidemark.subscribers')");
  if (found?.[0] === null) return null;
  const rows = await connection.rows(
    "SELECT sync, confirmed FROM tidemark.subscribers ORDER BY sync",
  );
  return (rows as string[][]).map(([sync = "", confirmed]) => ({
    sync,
    confirmed: Number(confirmed),
    release: `DELETE FROM tidemark.subscribers WHERE sync = ${quoteLiteral(sync)}`,
  }));
}
