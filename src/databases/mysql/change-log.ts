import { randomUUID } from "node:crypto";
import type { Layout } from "../../core/change.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { CaptureTable, ChangeLog, LogStats, Subscribers } from "../../core/source.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import { isoTime, loadBatches } from "./batch-records.ts";
import { MysqlBatches } from "./batches.ts";
import { installCapture } from "./capture.ts";
import { openWriter, Session, takeLock } from "./connection.ts";
import { loadLayouts, publicLayout } from "./layouts.ts";
import { createOurs, LAYOUTS, LOG, SOURCE } from "./ours.ts";
import { MysqlSubscribers } from "./subscribers.ts";
import { Watcher } from "./watcher.ts";

/** Keeps the lease's connection from looking dead while the relay is busy elsewhere. */
const HEARTBEAT_MS = 15_000;
/** Silent for so long, the server ends it: a machine that vanished must not hold the lease for an hour. */
const LEASE_SECONDS = 60;
/** So long purging waits for a row: the application's transactions hold those that they log, and may stay open for long. */
const PURGE_LOCK_SECONDS = 1;
/** Above so many rows the table's own estimate is good enough. */
const COUNT_UP_TO = 50_000;

export class MysqlChangeLog implements ChangeLog {
  readonly timeline: string;
  readonly batches: MysqlBatches;
  readonly subscribers: Subscribers;
  readonly #options: DatabaseOptions;
  readonly #main: Session;
  readonly #side: Session;
  readonly #watch: Session;
  readonly #watcher: Watcher;
  readonly #heartbeat: NodeJS.Timeout;

  private constructor(
    options: DatabaseOptions,
    sessions: { main: Session; side: Session; watch: Session },
    log: { timeline: string; batches: MysqlBatches },
  ) {
    this.#options = options;
    this.#main = sessions.main;
    this.#side = sessions.side;
    this.#watch = sessions.watch;
    this.timeline = log.timeline;
    this.batches = log.batches;
    this.subscribers = new MysqlSubscribers(this.#side);
    this.#watcher = new Watcher(this.#watch, this.batches.seen);
    this.#heartbeat = setInterval(() => void this.#beat(), HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  /** Null while another relay holds the lease. */
  static async open(options: DatabaseOptions): Promise<MysqlChangeLog | null> {
    // The lease is a lock of the session that cuts: who loses the one loses the other.
    const main = await Session.open(options, { isolation: "REPEATABLE READ" });
    const opened = [main];
    try {
      if (!(await takeLock(main, "relay"))) {
        await main.close();
        return null;
      }
      await main.run(`SET wait_timeout = ${LEASE_SECONDS}`);
      const side = await openWriter(options);
      opened.push(side);
      const watch = await Session.open(options, { isolation: "READ COMMITTED" });
      opened.push(watch);
      await createOurs(main, "source");
      const timeline = await openTimeline(main);
      const records = await loadBatches(main, timeline);
      const openCopier = () => Session.open(options, { isolation: "REPEATABLE READ" });
      const openRemover = async () => {
        const remover = await openWriter(options);
        await remover.run(`SET innodb_lock_wait_timeout = ${PURGE_LOCK_SECONDS}`);
        return remover;
      };
      const sessions = { main, side, openCopier, openRemover };
      const batches = new MysqlBatches(timeline, sessions, records);
      const layouts = await loadLayouts(main);
      batches.setLayouts(layouts, []);
      return new MysqlChangeLog(options, { main, side, watch }, { timeline, batches });
    } catch (error) {
      for (const session of opened) session.destroy();
      throw error;
    }
  }

  async capture(tables: readonly CaptureTable[]): Promise<readonly Layout[]> {
    await installCapture(this.#side, tables, this.#options.logger);
    const layouts = await loadLayouts(this.#side);
    const asked = new Set(tables.map(({ schema }) => formatTable(schema.name)));
    const captured = layouts.filter((each) => each.active && asked.has(formatTable(each.table)));
    this.batches.setLayouts(layouts, captured);
    return layouts.map(publicLayout);
  }

  async forget(tables: readonly TableName[]): Promise<void> {
    for (const table of tables) {
      await this.#side.run(
        `UPDATE ${LAYOUTS} SET triggers = NULL, table_id = NULL WHERE table_name = ?`,
        [formatTable(table)],
      );
    }
  }

  waitForChanges(signal: AbortSignal): Promise<void> {
    return this.#watcher.wait(signal);
  }

  async stats(): Promise<LogStats> {
    const [row] = await this.#side.rows(
      `SELECT TABLE_ROWS, DATA_LENGTH + INDEX_LENGTH,
         (SELECT COUNT(*) FROM (SELECT 1 FROM ${LOG} WHERE id > 0 LIMIT ${COUNT_UP_TO}) AS few),
         (SELECT at FROM ${LOG} WHERE id > 0 ORDER BY id LIMIT 1)
       FROM information_schema.TABLES
       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${LOG}'`,
    );
    const [estimate = null, bytes = null, few = null, oldest = null] = row ?? [];
    const counted = Number(few);
    return {
      rows: counted < COUNT_UP_TO ? counted : Math.max(counted, Number(estimate)),
      bytes: Number(bytes),
      oldestAt: oldest === null ? null : isoTime(oldest),
    };
  }

  async close(): Promise<void> {
    clearInterval(this.#heartbeat);
    this.batches.close();
    // A look may still go on in the server: nobody waits for it.
    this.#watch.destroy();
    await this.#side.close();
    await this.#main.close();
  }

  async #beat(): Promise<void> {
    try {
      await this.#main.run("DO 1");
    } catch (error) {
      // The next call meets the same and tells it to the relay.
      this.#options.logger.debug({ err: error }, "the relay's session is gone");
    }
  }
}

/**
 * The identity of this history. A copy of the database on another server has our tables too, with
 * the timeline of the original: two sources that call themselves the same.
 */
async function openTimeline(session: Session): Promise<string> {
  const identity = `${await session.value(`SELECT ${session.flavour.identity}`)}/${session.database}`;
  await session.run(
    `INSERT INTO ${SOURCE} (id, timeline, identity)
     SELECT 1, ?, ? FROM DUAL WHERE NOT EXISTS (SELECT 1 FROM ${SOURCE})`,
    [randomUUID(), identity],
  );
  const [row] = await session.rows(`SELECT timeline, identity FROM ${SOURCE} WHERE id = 1`);
  if (row?.[1] !== identity) {
    throw new TidemarkError(
      "TM-SOURCE-CLONED",
      "The change log in this database was begun on another server or under another name: this is a copy, or it was moved.",
      {
        fix: `if it is a copy: tidemark uninstall, then run again; if the server was moved and the original is gone: UPDATE ${SOURCE} SET identity = CONCAT(${session.flavour.identity}, '/', DATABASE())`,
      },
    );
  }
  return row[0] ?? "";
}
