import { randomUUID } from "node:crypto";
import { columnsAltered } from "../../core/altered.ts";
import type { Layout } from "../../core/change.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { Mutex } from "../../core/mutex.ts";
import { rewound } from "../../core/rewound.ts";
import type { Batches, CaptureTable, ChangeLog, LogStats, Subscribers } from "../../core/source.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import { firstTip, PostgresBatches, type Tip } from "./batches.ts";
import { runCaptures } from "./capture.ts";
import { assertUnbroken } from "./capture-broken.ts";
import { prepareCaptures, type TableCapture } from "./capture-plan.ts";
import { captureTriggers } from "./capture-sql.ts";
import { tableKey } from "./catalog.ts";
import { ChunkReader } from "./chunk-reader.ts";
import { Connection, type Row } from "./connection.ts";
import { DriftWatch } from "./drift.ts";
import { takeFromFenced } from "./fence.ts";
import { schemaOf } from "./identifiers.ts";
import { serverIdentity } from "./identity.ts";
import { FORGOTTEN, loadLayouts, type StoredLayout } from "./layouts.ts";
import { CAPTURE_LOCK, CONTROL_LOCK, RELAY_LOCK } from "./log-insert.ts";
import { LogPages } from "./log-pages.ts";
import { LogDecoder } from "./log-rows.ts";
import { assertLogFits, assertOwned, createSourceObjects, missingSourceObjects } from "./ours.ts";
import { publicationNotes } from "./publications.ts";
import { LogRotation, type RotationLimits } from "./rotation.ts";
import { parseSnapshot } from "./snapshot.ts";
import { PostgresSubscribers } from "./subscribers.ts";
import { Uncarried } from "./uncarried.ts";
import { Waker } from "./wake.ts";

export interface LogOptions extends DatabaseOptions {
  /** Is the lease likely to be free? Then what is needed besides it is opened at once. */
  readonly isEager?: boolean;
}

/**
 * Two sessions: `main` has the lease and cuts; `control` does what may take a lock. Two more come as
 * they are needed: one streams large batches, one the chunks of tables.
 */
export class PostgresChangeLog implements ChangeLog {
  readonly timeline: string;
  readonly batches: Batches;
  readonly #cuts: PostgresBatches;
  readonly subscribers: Subscribers;
  readonly #options: DatabaseOptions;
  readonly #main: Connection;
  readonly #control: Connection;
  /** Of the first capture, which comes at once. */
  #capturing: Promise<Connection> | null;
  readonly #rotation: LogRotation;
  readonly #decoder: LogDecoder;
  readonly #pages: LogPages;
  readonly #chunks: ChunkReader;
  readonly #drift: DriftWatch;
  readonly #waker: Waker;
  /** Layouts of all captured tables by id, and those in force by table. */
  readonly #layouts: Map<number, StoredLayout>;
  readonly #current = new Map<string, StoredLayout>();

  private constructor(parts: OpenedParts) {
    const { options, main, control, capturing, state, layouts } = parts;
    const mutex = new Mutex();
    this.timeline = state.timeline;
    this.#options = options;
    this.#main = main;
    this.#control = control;
    this.#capturing = capturing;
    this.#layouts = layouts;
    const uncarried = new Uncarried(control, options.logger, (layout) => this.#learn(layout));
    this.#drift = new DriftWatch(control, mutex, uncarried);
    this.#decoder = new LogDecoder(layouts.values(), this.#drift);
    this.#pages = new LogPages(options, this.#decoder);
    this.#chunks = new ChunkReader(options);
    this.#rotation = new LogRotation(control, mutex, parts.limits);
    this.subscribers = new PostgresSubscribers(control, mutex);
    for (const layout of layouts.values()) this.#current.set(tableKey(layout.table), layout);
    const batches = new PostgresBatches(
      {
        timeline: state.timeline,
        main,
        decoder: this.#decoder,
        pages: this.#pages,
        chunks: this.#chunks,
        rotation: this.#rotation,
        currentLayout: (table) => this.#current.get(tableKey(table)) ?? null,
        checkCapture: () => this.#drift.check(),
        lookAgain: () => this.#drift.lookNow(),
        lookIfAltered: () => this.#drift.lookIfAltered(),
        noteLost: () => this.#drift.noteLost(),
      },
      state.tip,
    );
    this.batches = batches;
    this.#cuts = batches;
    this.#waker = new Waker(main, () => batches.hasUnseen(), state.mayRing);
  }

  /** Null while another relay holds the lease. */
  static async open(
    options: LogOptions,
    limits?: RotationLimits,
  ): Promise<PostgresChangeLog | null> {
    const opening: Promise<Connection>[] = [];
    const open = (role: string): Promise<Connection> => {
      const opened = Connection.open(options, role);
      // It is told to who asks.
      opened.catch(() => {});
      opening.push(opened);
      return opened;
    };
    const openingMain = open("relay");
    let openingControl = options.isEager ? open("relay control") : null;
    try {
      const main = await openingMain;
      const [lease] = await main.rows(`SELECT pg_try_advisory_lock(${RELAY_LOCK})`);
      if (lease?.[0] !== "t") {
        await closeAll(opening);
        return null;
      }
      openingControl ??= open("relay control");
      const capturing = open("relay capture");
      const control = await openingControl;
      await takeFromFenced(control, CONTROL_LOCK);
      await assertOwned(main, "source");
      await assertLogFits(main);
      if ((await missingSourceObjects(main)).length > 0) {
        for (const note of await publicationNotes(main)) options.logger.warn({}, note);
        await createSourceObjects(main);
      }
      const [state, layouts] = await Promise.all([openTimeline(main), loadLayouts(main)]);
      const sessions = { main, control, capturing };
      return new PostgresChangeLog({ options, ...sessions, state, layouts, limits });
    } catch (error) {
      await closeAll(opening);
      throw error;
    }
  }

  async capture(tables: readonly CaptureTable[]): Promise<readonly Layout[]> {
    // A session of its own: DDL waits for locks, and cutting goes on meanwhile.
    const opening = this.#capturing ?? Connection.open(this.#options, "relay capture");
    this.#capturing = null;
    const connection = await opening;
    try {
      await takeFromFenced(connection, CAPTURE_LOCK);
      const captures = await prepareCaptures(connection, tables, true);
      assertUnbroken(captures);
      const installed = runCaptures(connection, captures, this.#options.logger);
      for await (const capture of installed) this.#adopt(capture);
      assertAsAsked(captures);
      // Those replaced may be readable only up to some batch from now on.
      for (const layout of (await loadLayouts(connection)).values()) this.#learn(layout);
      this.#drift.watchOthers(this.#layouts.values());
    } finally {
      await connection.close();
    }
    return [...this.#layouts.values()];
  }

  async forget(tables: readonly TableName[]): Promise<void> {
    for (const table of tables) {
      await this.#control.run(
        `UPDATE tidemark.layouts SET retired_at = COALESCE(retired_at, clock_timestamp()), partitions = '${FORGOTTEN}'
         WHERE schema_name = $1 AND table_name = $2`,
        [schemaOf(table), table.name],
      );
    }
  }

  waitForChanges(signal: AbortSignal): Promise<void> {
    return this.#waker.wait(signal);
  }

  observe(transactions: number): void {
    this.#waker.observe(transactions, this.#cuts.commitMs);
  }

  stats(): Promise<LogStats> {
    return this.#rotation.stats();
  }

  async close(): Promise<void> {
    await this.#pages.close();
    await this.#chunks.close();
    if (this.#capturing !== null) await closeAll([this.#capturing]);
    await this.#control.close();
    await this.#main.close();
  }

  #learn(layout: StoredLayout): void {
    this.#layouts.set(layout.id, layout);
    this.#decoder.add(layout);
  }

  #adopt(capture: TableCapture): void {
    const { layout, spec } = capture;
    this.#current.set(tableKey(layout.table), layout);
    this.#drift.watch({ layout, spec, triggers: [...captureTriggers(spec).keys()] });
  }
}

/** The one with the lease last. */
async function closeAll(opening: readonly Promise<Connection>[]): Promise<void> {
  for (const opened of [...opening].reverse()) {
    const [settled] = await Promise.allSettled([opened]);
    if (settled.status === "fulfilled") await settled.value.close();
  }
}

/**
 * A relay that begins anew with its source (its session was lost) asks for what it was started with. The application's
 * writes go on by what there is now, but no batch may hold them: the targets were not asked whether it fits. Throws
 * TM-SCHEMA-DRIFT.
 */
function assertAsAsked(captures: readonly TableCapture[]): void {
  for (const { altered, layout } of captures) {
    if (altered !== null) throw columnsAltered(formatTable(layout.table), altered);
  }
}

interface OpenedParts {
  readonly options: DatabaseOptions;
  readonly main: Connection;
  readonly control: Connection;
  readonly capturing: Promise<Connection>;
  readonly state: TimelineState;
  readonly layouts: Map<number, StoredLayout>;
  readonly limits: RotationLimits | undefined;
}

interface TimelineState {
  readonly timeline: string;
  readonly tip: Tip;
  /** May writers notify? Not where transactions may be prepared (see wake.ts). */
  readonly mayRing: boolean;
}

/** Null where none has begun. */
async function readTimeline(main: Connection): Promise<Row[] | null> {
  const rows = await main.rows(
    `SELECT s.timeline, s.start, s.created_at,
            b.n, b.hash, b.snapshot, b.cut_at, current_setting('max_prepared_transactions'),
            COALESCE(pg_snapshot_xmax(b.snapshot) <= pg_snapshot_xmax(pg_current_snapshot()), true)
     FROM tidemark.source s
     LEFT JOIN LATERAL (SELECT * FROM tidemark.batches ORDER BY n DESC LIMIT 1) b ON true`,
  );
  return rows.length === 0 ? null : rows;
}

async function beginTimeline(main: Connection): Promise<Row[]> {
  const server = await serverIdentity(main);
  await main.run(
    `INSERT INTO tidemark.source (timeline, server, database_oid, start)
     SELECT $1, $2, oid, pg_current_snapshot() FROM pg_database WHERE datname = current_database()
     ON CONFLICT DO NOTHING`,
    [randomUUID(), server],
  );
  return (await readTimeline(main)) ?? [];
}

/** Begins the timeline, or goes on with it: that this is the same server and database is known. */
async function openTimeline(main: Connection): Promise<TimelineState> {
  const [row] = (await readTimeline(main)) ?? (await beginTimeline(main));
  if (!row) throw new TidemarkError("TM-INTERNAL", "The table tidemark.source is empty.");
  const [timeline, start, createdAt] = row as string[];
  const [batch, hash, snapshot, cutAt, prepared, forward] = row.slice(3);
  if (forward !== "t") {
    throw rewound(
      `Database "${main.database}" has fewer transactions than its own batches have seen: it was restored to an earlier time.`,
    );
  }
  const tip: Tip =
    batch === null || batch === undefined
      ? firstTip(timeline as string, start as string, createdAt as string)
      : {
          batch: Number(batch),
          hash: hash as string,
          snapshot: parseSnapshot(snapshot as string),
          cutAt: cutAt as string,
        };
  return { timeline: timeline as string, tip, mayRing: prepared === "0" };
}
