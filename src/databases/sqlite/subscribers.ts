import type { LogHolder } from "../../core/database.ts";
import type { Subscribers } from "../../core/source.ts";
import type { Connection } from "./connection.ts";
import { quoteText } from "./identifiers.ts";

export class SqliteSubscribers implements Subscribers {
  readonly #connection: Connection;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  list(): Promise<ReadonlyMap<string, number>> {
    return this.#connection.read(() => {
      const rows = this.#connection.rows<{ sync: string; confirmed: bigint }>(
        "SELECT sync, confirmed FROM tidemark_subscribers",
      );
      return new Map(rows.map((row) => [row.sync, Number(row.confirmed)]));
    });
  }

  async set(sync: string, confirmed: number): Promise<void> {
    const known = (await this.list()).get(sync);
    // An idle pipeline writes nothing.
    if (known === confirmed) return;
    await this.#connection.write(
      () =>
        this.#connection.run(
          `INSERT INTO tidemark_subscribers (sync, confirmed) VALUES (?, ?)
           ON CONFLICT (sync) DO UPDATE SET confirmed = excluded.confirmed`,
          sync,
          BigInt(confirmed),
        ),
      // A confirmation that a power cut takes comes again. That the log is kept for this sync, and from where, is
      // what its target counts on from now on: without it all would be purged.
      { durable: known === undefined || confirmed < known },
    );
  }

  async remove(sync: string): Promise<void> {
    await this.#connection.write(() =>
      this.#connection.run("DELETE FROM tidemark_subscribers WHERE sync = ?", sync),
    );
  }
}

/** In a transaction. `records`: see records.ts. */
export function logHolders(records: Connection): readonly LogHolder[] {
  return records
    .rows<{ sync: string; confirmed: bigint }>(
      "SELECT sync, confirmed FROM tidemark_subscribers ORDER BY sync",
    )
    .map(({ sync, confirmed }) => ({
      sync,
      confirmed: Number(confirmed),
      release: `ATTACH ${quoteText(records.path)} AS records; DELETE FROM records.tidemark_subscribers WHERE sync = ${quoteText(sync)}`,
    }));
}
