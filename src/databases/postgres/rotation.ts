import { failpoint } from "../../core/failpoint.ts";
import type { Mutex } from "../../core/mutex.ts";
import type { LogStats } from "../../core/source.ts";
import type { Connection } from "./connection.ts";
import { sqlState } from "./errors.ts";
import { LOG_SLOT, LOG_TABLES, logTable, writeToSlot } from "./ours.ts";
import { allSeen, parseSnapshot, type SnapshotParts } from "./snapshot.ts";

const LOCK_NOT_AVAILABLE = "55P03";

/** Writers are sent to the next table when the current one is so large, or has been used so long. */
export interface RotationLimits {
  readonly bytes: number;
  readonly ageMs: number;
}

const LIMITS: RotationLimits = { bytes: 32 * 1024 * 1024, ageMs: 60_000 };

/**
 * Purge by rotation: writers use one log table of three; a table that is no longer written and
 * whose rows are all purged is truncated. No row is ever deleted, nothing is left to vacuum.
 *
 * A writer may have read the slot just before it moved, and write to the former table after. That
 * is harmless: readers look into all three, and a table is truncated only under its ACCESS
 * EXCLUSIVE lock, which no transaction with rows in it can be holding back, after one more look that
 * every row in it belongs to a purged batch.
 */
export class LogRotation {
  readonly #control: Connection;
  readonly #mutex: Mutex;
  readonly #limits: RotationLimits;

  constructor(control: Connection, mutex: Mutex, limits: RotationLimits = LIMITS) {
    this.#control = control;
    this.#mutex = mutex;
    this.#limits = limits;
  }

  /** Number of the newest batch whose changes are gone. */
  async purged(): Promise<number> {
    return this.#mutex.run(async () => {
      const [row] = await this.#control.rows("SELECT purged FROM tidemark.source");
      return Number(row?.[0] ?? 0);
    });
  }

  purge(upTo: number): Promise<void> {
    return this.#mutex.run(async () => {
      const [row] = await this.#control.rows(
        `SELECT b.snapshot, ${LOG_SLOT},
                extract(epoch FROM clock_timestamp() - s.switched_at) * 1000
         FROM tidemark.batches b, tidemark.source s WHERE b.n = $1`,
        [String(upTo)],
        "purge_state",
      );
      if (!row) return;
      const [snapshot, current, age] = row as [string, string, string];
      await this.#forget(upTo);
      failpoint("purge-half");
      const slot = Number(current);
      const purged = parseSnapshot(snapshot);
      for (const other of LOG_TABLES) if (other !== slot) await this.#truncate(other, purged);
      await this.#switchWhenFull(slot, Number(age));
    });
  }

  async stats(): Promise<LogStats> {
    const rows = await this.#mutex.run(() => this.#control.rows(STATS, [], "log_stats"));
    let [count, bytes] = [0, 0];
    for (const [tuples, size] of rows) {
      count += Number(tuples ?? 0);
      bytes += Number(size ?? 0);
    }
    return { rows: count, bytes };
  }

  /** The header of the newest purged batch stays: the next batch's changes are counted from its snapshot. */
  async #forget(upTo: number): Promise<void> {
    await this.#control.run(
      `WITH mark AS (UPDATE tidemark.source SET purged = $1 WHERE purged < $1 RETURNING 1)
       DELETE FROM tidemark.batches WHERE n < $1 AND EXISTS (SELECT FROM mark)`,
      [String(upTo)],
      "purge_batches",
    );
  }

  async #truncate(slot: number, purged: SnapshotParts): Promise<void> {
    if (!(await this.#isDisposable(slot, purged))) return;
    try {
      await this.#control.transaction("BEGIN", async () => {
        // NOWAIT: a lock that waits makes writers wait behind it. Next time it will be free.
        await this.#control.script(`LOCK TABLE ${logTable(slot)} IN ACCESS EXCLUSIVE MODE NOWAIT`);
        if (await this.#isDisposable(slot, purged)) {
          await this.#control.script(`TRUNCATE ${logTable(slot)}`);
          failpoint("log-truncated");
        }
      });
    } catch (error) {
      if (sqlState(error) !== LOCK_NOT_AVAILABLE) throw error;
    }
  }

  /** It has pages, and no row that the purged snapshot does not show. */
  async #isDisposable(slot: number, purged: SnapshotParts): Promise<boolean> {
    const table = logTable(slot);
    const [row] = await this.#control.rows(
      `SELECT pg_relation_size('${table}') > 0 AND ${allSeen(table, "$1::xid8", "$2::xid8[]")}`,
      [purged.xmax, purged.inProgress],
      `disposable_${slot}`,
    );
    return row?.[0] === "t";
  }

  async #switchWhenFull(slot: number, ageMs: number): Promise<void> {
    const next = (slot + 1) % LOG_TABLES.length;
    const [row] = await this.#control.rows(
      `SELECT pg_relation_size('${logTable(slot)}'), pg_relation_size('${logTable(next)}')`,
    );
    const [bytes, nextBytes] = (row ?? []).map(Number) as [number, number];
    const full = bytes >= this.#limits.bytes || (bytes > 0 && ageMs >= this.#limits.ageMs);
    if (!full || nextBytes > 0) return;
    // Every writer that begins from now on sees it, whatever its snapshot.
    await this.#control.script(writeToSlot(next));
    failpoint("log-switched");
    await this.#control.run("UPDATE tidemark.source SET switched_at = clock_timestamp()");
  }
}

const STATS = LOG_TABLES.map(
  (slot) => `SELECT pg_stat_get_live_tuples('${logTable(slot)}'::regclass),
  pg_total_relation_size('${logTable(slot)}')`,
).join("\nUNION ALL\n");
