import { randomUUID } from "node:crypto";
import type { Layout } from "../../core/change.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { TidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import type { Logger } from "../../core/log.ts";
import { Objections } from "../../core/many-tables.ts";
import type { CaptureTable, ChangeLog, LogStats, Subscribers } from "../../core/source.ts";
import type { TableName } from "../../core/table.ts";
import { SqliteBatches } from "./batches.ts";
import { type CaptureShape, layoutOf, shapeOf, widenLog } from "./capture.ts";
import { triggersOf } from "./capture-sql.ts";
import { Connection } from "./connection.ts";
import { deviceAndInode } from "./files.ts";
import { checkCapture, Guard } from "./guard.ts";
import { foldName, quoteName } from "./identifiers.ts";
import { type Definition, type InstalledLayout, Layouts } from "./layouts.ts";
import type { Lease } from "./lease.ts";
import { LOG, missingOfSource } from "./ours.ts";
import { apart, Records } from "./records.ts";
import { anchoring, isAnchored, standingTriggers, strayedTriggers } from "./standing-triggers.ts";
import { type StoredTimeline, storedTimeline } from "./stored-timeline.ts";
import { SqliteSubscribers } from "./subscribers.ts";
import { Watcher } from "./watcher.ts";
import { widenInTurns } from "./widening.ts";

/** Rows whose size is taken for the average. */
const SAMPLE_ROWS = 200;
/** Captured in one transaction, in which nobody else can write: of thousands of tables each trigger takes milliseconds. */
const TABLES_AT_A_TIME = 50;

/** Under load: each purge may cost the application the transaction that it meets (docs/decisions/0041). */
const PURGE_EVERY_MS = 30_000;

export class SqliteChangeLog implements ChangeLog {
  readonly purgeEveryMs = PURGE_EVERY_MS;
  readonly timeline: string;
  readonly batches: SqliteBatches;
  readonly subscribers: Subscribers;
  readonly #connection: Connection;
  readonly #layouts: Layouts;
  readonly #guard: Guard;
  readonly #records: Records;
  readonly #lease: Lease;
  readonly #watcher: Watcher;
  readonly #openReader: () => Promise<Connection>;

  private constructor(
    connection: Connection,
    timeline: string,
    parts: {
      readonly records: Records;
      readonly lease: Lease;
      readonly openCopier: () => Promise<Connection>;
    },
  ) {
    this.timeline = timeline;
    this.#connection = connection;
    this.#layouts = new Layouts(connection);
    this.#records = parts.records;
    this.#lease = parts.lease;
    this.#guard = new Guard(connection, this.#layouts);
    this.batches = new SqliteBatches(connection, timeline, {
      layouts: this.#layouts,
      guard: this.#guard,
      records: parts.records,
      openCopier: parts.openCopier,
    });
    this.subscribers = new SqliteSubscribers(parts.records.connection);
    this.#watcher = new Watcher(connection);
    this.#openReader = parts.openCopier;
  }

  static async open(options: DatabaseOptions, lease: Lease): Promise<ChangeLog> {
    const openCopier = () => Connection.open(options, { create: false });
    const connection = await openCopier();
    let records: Records | null = null;
    try {
      const missing = await connection.read(() => missingOfSource(connection));
      if (missing.length > 0) await connection.write(() => connection.db.exec(missing.join(";")));
      const stored = await connection.read(() => storedTimeline(connection));
      records = await Records.open(connection, stored !== null && !stored.cloned);
      const timeline = await identify(connection, records, { stored, logger: options.logger });
      return new SqliteChangeLog(connection, timeline, { records, lease, openCopier });
    } catch (error) {
      await records?.close();
      await connection.close();
      throw error;
    }
  }

  async capture(tables: readonly CaptureTable[]): Promise<readonly Layout[]> {
    const connection = this.#connection;
    const plans = await connection.read(() => changedPlans(connection, this.#layouts, tables));
    const shapes = plans.map(({ shape }) => shape);
    if (shapes.length > 0) await widenInTurns(connection, shapes, this.#openReader);
    // The write lock is given when every writer before us has ended, and a writer after us sees
    // the triggers: nobody is left who could have written uncaptured.
    for (let at = 0; at < tables.length; at += TABLES_AT_A_TIME) {
      const group = tables.slice(at, at + TABLES_AT_A_TIME);
      await connection.write(() => {
        captureTables(connection, this.#layouts, group);
        this.#guard.watch(group.map(({ schema }) => schema.name.name));
      });
    }
    return connection.read(() => this.#layouts.all());
  }

  async forget(
    tables: readonly TableName[],
    mayEnd: () => Promise<boolean> = async () => false,
  ): Promise<void> {
    const connection = this.#connection;
    // SQLite drops no column that a trigger names.
    const ends = await mayEnd();
    await connection.write(() => {
      for (const { name } of tables) {
        this.#layouts.retire(name);
        const triggers = ends ? standingTriggers(connection, name).keys() : [];
        for (const trigger of triggers) connection.db.exec(`DROP TRIGGER ${quoteName(trigger)}`);
      }
    });
  }

  waitForChanges(signal: AbortSignal): Promise<void> {
    return this.#watcher.wait(() => this.batches.seen, signal);
  }

  async stats(): Promise<LogStats> {
    // The row that a purge leaves where it takes all: its batch's record stays as well.
    const hollow = (await this.#records.find(await this.#records.purged()))?.last_id ?? null;
    return this.#connection.read(() => {
      const span = this.#connection.row<{ rows: bigint }>(
        `SELECT (SELECT max(id) FROM ${LOG}) - id + 1 AS rows FROM ${LOG} WHERE id IS NOT ? ORDER BY id LIMIT 1`,
        hollow,
      );
      const rows = Number(span?.rows ?? 0);
      return { rows, bytes: Math.ceil(rows * this.#averageBytes()) };
    });
  }

  async close(): Promise<void> {
    this.#watcher.close();
    try {
      await this.batches.close();
      await this.#connection.close();
      await this.#records.close();
    } finally {
      this.#lease.release();
    }
  }

  /** Of the newest rows: those that an alarm is about. */
  #averageBytes(): number {
    const columns = this.#connection
      .rows<{ name: string }>("SELECT name FROM pragma_table_info(?)", LOG)
      .map(({ name }) => `avg(coalesce(length(CAST(${name} AS BLOB)), 0) + 1)`);
    // Not as one sum: an expression may be 1,000 deep, and the log may have 2,000 columns.
    const averages = this.#connection.row<Record<string, number | null>>(
      `SELECT ${columns.map((sql, i) => `${sql} AS a${i}`).join(", ")} FROM (SELECT * FROM ${LOG} ORDER BY id DESC LIMIT ${SAMPLE_ROWS})`,
    );
    return Object.values(averages ?? {}).reduce<number>((sum, each) => sum + (each ?? 0), 0);
  }
}

/**
 * The timeline of this file, begun where there is none.
 *
 * A file has no identity that its copy lacks, so only what is certain starts a new timeline: the
 * file at the recorded place is still there and is another one (a copy, opened elsewhere). A file
 * that was moved, or put in place of the old one, keeps its timeline; if it was a backup, its next
 * batch has another hash than the one that was published, and the chain tells. Throws TM-SOURCE-REWOUND where the
 * records of that timeline are not there.
 */
async function identify(
  connection: Connection,
  records: Records,
  { stored, logger }: { readonly stored: StoredTimeline | null; readonly logger: Logger },
): Promise<string> {
  const inode = deviceAndInode(connection.path) ?? "";
  if (stored === null || stored.cloned) {
    if (stored !== null)
      logger.warn({ original: stored.before }, "the source file is a copy: a new timeline begins");
    return begin(connection, records, inode);
  }
  const { timeline, before } = stored;
  const found = await records.timeline();
  if (found !== timeline) throw apart(connection, found);
  if (!stored.same) {
    logger.warn(
      { path: connection.path, before },
      "the source file was moved or replaced since it was last opened",
    );
    await connection.write(() =>
      connection.run("UPDATE tidemark_source SET path = ?, inode = ?", connection.path, inode),
    );
  }
  return timeline;
}

async function begin(connection: Connection, records: Records, inode: string): Promise<string> {
  const timeline = randomUUID();
  // The records first: a source that names a timeline whose records are missing has been restored without them.
  await records.begin(timeline);
  await connection.write(() => {
    connection.db.exec(`DELETE FROM tidemark_source; DELETE FROM ${LOG}`);
    // Its first row is row 1: a log that lacks that one without a batch has records that are older than what was purged.
    connection.run("DELETE FROM sqlite_sequence WHERE name = ?", LOG);
    connection.run(
      "INSERT INTO tidemark_source (id, timeline, path, inode) VALUES (1, ?, ?, ?)",
      timeline,
      connection.path,
      inode,
    );
  });
  return timeline;
}

/**
 * Installs or alters the capture of tables; within a write transaction. All is looked at before anything
 * is changed: each change of the schema makes the next look at it read the whole of it.
 */
function captureTables(
  connection: Connection,
  layouts: Layouts,
  tables: readonly CaptureTable[],
): void {
  const plans = changedPlans(connection, layouts, tables);
  const anchor = anchorOf(connection, plans);
  for (const name of plans.flatMap(({ replaced }) => replaced))
    connection.db.exec(`DROP TRIGGER ${quoteName(name)}`);
  const shapes = plans.map(({ shape }) => shape);
  if (shapes.length > 0) {
    for (const sql of widenLog(connection, shapes)) connection.db.exec(sql);
  }
  for (const { shape, wanted } of plans) {
    const layout = layouts.add(wanted, shape.onlyColumns);
    for (const { sql } of triggersOf(shape, layout)) {
      connection.db.exec(sql);
      failpoint("capture-half");
    }
  }
  for (const sql of anchor) connection.db.exec(sql);
}

/** What is to be run after the statements of these plans; see {@link anchoring}. */
export function anchorOf(connection: Connection, plans: readonly TablePlan[]): readonly string[] {
  const changed = plans.filter(({ statements }) => statements.length > 0);
  if (changed.length === 0 && isAnchored(connection)) return [];
  return anchoring(
    connection,
    changed.map(({ shape }) => shape.facts.name),
  );
}

/** Of the tables that are to be captured, or captured otherwise. */
function changedPlans(
  connection: Connection,
  layouts: Layouts,
  tables: readonly CaptureTable[],
): readonly TablePlan[] {
  return planTables(connection, layouts, tables).filter(
    ({ current, statements }) => current === undefined || statements.length > 0,
  );
}

export interface TablePlan {
  readonly shape: CaptureShape;
  readonly current: InstalledLayout | undefined;
  readonly wanted: Definition;
  /** Triggers that are to go first. */
  readonly replaced: readonly string[];
  /** As they would be run; empty when capture stands as asked. */
  readonly statements: readonly string[];
}

/** See {@link planTable}. `layouts`: null when nothing is installed. */
export function planTables(
  connection: Connection,
  layouts: Layouts | null,
  tables: readonly CaptureTable[],
): readonly TablePlan[] {
  const current = layouts?.current() ?? [];
  const installed: Installed = {
    current: new Map(current.map((layout) => [foldName(layout.table.name), layout])),
    nextId: Math.max(0, ...(layouts?.all() ?? []).map(({ id }) => id)) + 1,
    dropped: new Set(),
  };
  const objections = new Objections();
  const plans = tables.map((table) =>
    objections.try(() => planTable(connection, installed, table)),
  );
  objections.end();
  return plans.filter((plan) => plan !== null);
}

interface Installed {
  /** By table. */
  readonly current: ReadonlyMap<string, InstalledLayout>;
  readonly nextId: number;
  /**
   * Triggers that go for the sake of a table before: where two have exchanged their names, those of each stand on the
   * other.
   */
  readonly dropped: Set<string>;
}

/**
 * What capture of a table still needs. Throws TM-CAPTURE-BROKEN when it was installed and no longer
 * stands: installing it again in silence would hide the changes that went by.
 */
function planTable(connection: Connection, installed: Installed, table: CaptureTable): TablePlan {
  const shape = shapeOf(connection, table);
  const wanted = layoutOf(table, shape);
  const current = installed.current.get(foldName(shape.facts.name));
  if (current !== undefined && standsStill(connection, current)) {
    const { id, onlyColumns, ...definition } = current;
    if (JSON.stringify(definition) === JSON.stringify(wanted)) {
      const replaced = [...standingTriggers(connection, shape.facts.name).keys()];
      return { shape, current, wanted, replaced, statements: checkCapture(connection, current) };
    }
  }
  const { name } = shape.facts;
  const triggers = triggersOf(shape, installed.nextId);
  const replaced = [
    ...standingTriggers(connection, name).keys(),
    ...strayedTriggers(
      connection,
      name,
      triggers.map((trigger) => trigger.name),
    ),
  ].filter((each) => !installed.dropped.has(each));
  for (const each of replaced) installed.dropped.add(each);
  const drops = replaced.map((each) => `DROP TRIGGER ${quoteName(each)}`);
  const statements = [...drops, ...triggers.map(({ sql }) => sql)];
  return { shape, current, wanted, replaced, statements };
}

/**
 * Did the layout's triggers log without a gap until now? False when the table was altered under
 * them (they then followed the alteration, or SQLite refused it). Throws TM-CAPTURE-BROKEN.
 */
function standsStill(connection: Connection, layout: InstalledLayout): boolean {
  try {
    checkCapture(connection, layout);
    return true;
  } catch (error) {
    const isDrift = error instanceof TidemarkError && error.code === "TM-SCHEMA-DRIFT";
    if (!isDrift) throw error;
    return false;
  }
}
