// A client that keeps in mind what the source has acknowledged to it: that must stand there ever after, whatever was
// killed or lost power, and in the end at the target as well.

import { runClient } from "../../support/bank.ts";
import type { Random } from "../../support/random.ts";
import type { SqlClient } from "../../support/sql-client.ts";
import { append } from "./games.ts";

const PAUSE_MS = 150;

export class Diary {
  readonly #acknowledged = new Set<string>();
  readonly #stop = new AbortController();
  readonly #running: Promise<unknown>;

  /** `connect`: to commit durably. */
  constructor(connect: () => Promise<SqlClient>, random: Random) {
    const options = { connect, random, transactions: Number.POSITIVE_INFINITY, pauseMs: PAUSE_MS };
    const { signal } = this.#stop;
    this.#running = runClient({ ...options, signal }, async (sql) => {
      await sql.begin();
      const author = await append(sql, random);
      await sql.commit();
      this.#acknowledged.add(author);
      return true;
    });
    this.#running.catch(() => {}); // thrown by stop()
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  /** How much of what had been acknowledged before is not there. */
  async missingFrom(open: () => Promise<SqlClient>): Promise<number> {
    const acknowledged = [...this.#acknowledged];
    await using sql = await open();
    const rows = await sql.rows("SELECT DISTINCT author FROM entries");
    const standing = new Set(rows.map(({ author }) => author));
    return acknowledged.filter((author) => !standing.has(author)).length;
  }
}
