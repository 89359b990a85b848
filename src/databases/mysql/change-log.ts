import { randomUUID } from "node:crypto";
import type { Layout } from "../../core/change.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { CaptureTable, ChangeLog, LogStats, Subscribers } from "../../core/source.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import { markForgotten } from "./answers.ts";
import { loadBatches } from "./batch-records.ts";
import { MysqlBatches } from "./batches.ts";
import { installCapture } from "./capture.ts";
import { openWriter, Session } from "./connection.ts";
import { loadLayouts, publicLayout } from "./layouts.ts";
import { Lease } from "./lease.ts";
import { createOurs, LAYOUTS, LOG, SOURCE } from "./ours.ts";
import { replicaNotes } from "./replica.ts";
import { SourceWatch } from "./source-watch.ts";
import { MysqlSubscribers } from "./subscribers.ts";
import { Watcher } from "./watcher.ts";

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
  readonly #lease: Lease;
  readonly #sourceWatch: SourceWatch;

  private constructor(
    options: DatabaseOptions,
    sessions: { main: Session; side: Session; watch: Session },
    log: { lease: Lease; timeline: string; batches: MysqlBatches; told: readonly string[] },
  ) {
    this.#options = options;
    this.#main = sessions.main;
    this.#side = sessions.side;
    this.#watch = sessions.watch;
    this.#lease = log.lease;
    this.timeline = log.timeline;
    this.batches = log.batches;
    this.subscribers = new MysqlSubscribers(this.#side);
    this.#watcher = new Watcher(this.#watch, this.batches.seen);
    this.#sourceWatch = new SourceWatch(options, log.told);
  }

  /** Null while another relay holds the lease. */
  static async open(options: DatabaseOptions): Promise<MysqlChangeLog | null> {
    // The lease is a lock of the session that cuts: who loses the one loses the other.
    const main = await Session.open(options, { isolation: "REPEATABLE READ", flights: true });
    const opened = [main];
    let lease: Lease | null = null;
    try {
      lease = await Lease.take(main, options.logger, "relay");
      if (lease === null) {
        await main.close();
        return null;
      }
      const opening = [
        openWriter(options, { flights: true }),
        Session.open(options, { isolation: "READ COMMITTED" }),
      ] as const;
      for (const settled of await Promise.allSettled(opening)) {
        if (settled.status === "fulfilled") opened.push(settled.value);
      }
      const [side, watch] = await Promise.all(opening);
      const told = await replicaNotes(main);
      for (const note of told) options.logger.warn({}, note);
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
      const batches = new MysqlBatches(timeline, sessions, { records, logger: options.logger });
      const layouts = await loadLayouts(main);
      batches.setLayouts(layouts, []);
      const log = { lease, timeline, batches, told };
      return new MysqlChangeLog(options, { main, side, watch }, log);
    } catch (error) {
      lease?.stop();
      // Who tries again at once must find the lease free.
      await Promise.all(opened.map((session) => session.close()));
      throw error;
    }
  }

  async capture(tables: readonly CaptureTable[]): Promise<readonly Layout[]> {
    await installCapture(this.#side, tables, this.#options, this.#lease);
    const layouts = await loadLayouts(this.#side);
    const asked = new Set(tables.map(({ schema }) => formatTable(schema.name)));
    const captured = layouts.filter((each) => each.active && asked.has(formatTable(each.table)));
    this.batches.setLayouts(layouts, captured);
    return layouts.map(publicLayout);
  }

  async forget(tables: readonly TableName[]): Promise<void> {
    const active = (await loadLayouts(this.#side)).filter((layout) => layout.active);
    for (const table of tables) {
      const layout = active.find((each) => formatTable(each.table) === formatTable(table));
      if (layout !== undefined) await markForgotten(this.#side, layout);
      await this.#side.run(
        `UPDATE ${LAYOUTS} SET triggers = NULL, table_id = NULL WHERE table_name = ?`,
        [formatTable(table)],
      );
    }
  }

  waitForChanges(signal: AbortSignal, expected = false): Promise<void> {
    return this.#watcher.wait(signal, expected);
  }

  get warnings(): readonly string[] {
    return this.#sourceWatch.told;
  }

  async stats(): Promise<LogStats> {
    const [row] = await this.#side.rows(
      `SELECT TABLE_ROWS, DATA_LENGTH + INDEX_LENGTH,
         (SELECT COUNT(*) FROM (SELECT 1 FROM ${LOG} WHERE id > 0 LIMIT ${COUNT_UP_TO}) AS few)
       FROM information_schema.TABLES
       WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${LOG}'`,
    );
    const [estimate = null, bytes = null, few = null] = row ?? [];
    const counted = Number(few);
    return {
      rows: counted < COUNT_UP_TO ? counted : Math.max(counted, Number(estimate)),
      bytes: Number(bytes),
    };
  }

  async close(): Promise<void> {
    this.#lease.stop();
    this.batches.close();
    this.#sourceWatch.close();
    // A look may still go on in the server: nobody waits for it.
    this.#watch.destroy();
    await this.#side.close();
    await this.#main.close();
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
  // An earlier build stored the database's name as the URL had it.
  if (session.stored(row?.[1] ?? "") !== session.stored(identity)) {
    throw new TidemarkError(
      "TM-SOURCE-CLONED",
      "The change log in this database was begun on another server or under another name: this is a copy, or it was moved.",
      {
        fix: `If it is a copy: with a config of its own queue and targets, tidemark uninstall --database and its name, then start again. If the server was moved and the original is gone: UPDATE ${SOURCE} SET identity = CONCAT(${session.flavour.identity}, '/', DATABASE())`,
      },
    );
  }
  return row?.[0] ?? "";
}
