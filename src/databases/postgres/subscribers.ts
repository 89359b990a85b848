import type { Mutex } from "../../core/mutex.ts";
import type { Subscribers } from "../../core/source.ts";
import type { Connection } from "./connection.ts";

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
