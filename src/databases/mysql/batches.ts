import type { Change } from "../../core/change.ts";
import { isTidemarkError } from "../../core/errors.ts";
import { failpoint } from "../../core/failpoint.ts";
import type { Logger } from "../../core/log.ts";
import type { BatchHeader } from "../../core/position.ts";
import type { Batches, ChunkRequest, Cut } from "../../core/source.ts";
import { logAnswers } from "./answers.ts";
import {
  type BatchRecord,
  batchPurged,
  isGone,
  markPurged,
  type Purged,
  rowsMissing,
  storeBatch,
} from "./batch-records.ts";
import type { Session } from "./connection.ts";
import { checkDrift } from "./drift.ts";
import { IdSet } from "./id-set.ts";
import { inTransaction, type StoredLayout } from "./layouts.ts";
import { LogReader, type LogRow, readRuns } from "./log-rows.ts";
import { type Look, type LookSessions, Looks, type View } from "./looks.ts";
import { BATCHES, MARK } from "./ours.ts";
import { Pins } from "./pins.ts";
import { Remover } from "./remover.ts";
import { Throttle } from "./throttle.ts";
import { TruncationWatch } from "./truncation.ts";
import { Uncarried } from "./uncarried.ts";
import { SeenIds, type Unseen } from "./unseen.ts";

export interface BatchSessions extends LookSessions {
  /** Opens one that deletes what is purged: where that must wait for a lock, nobody else shall wait with it. */
  readonly openRemover: () => Promise<Session>;
}

/** A check of the schema costs more than a cut: often while changes flow, seldom while none do. */
const DRIFT_EVERY_MS = 1_000;
const DRIFT_WHILE_IDLE_MS = 5_000;
/** Records deleted in one transaction. */
const PURGE_RECORDS = 2_000;
/** Gaps among purged ids that are watched one by one before they are taken together. */
const MAX_GAPS = 1_000;

export class MysqlBatches implements Batches {
  readonly #timeline: string;
  readonly #sessions: BatchSessions;
  readonly #seen = new SeenIds();
  readonly #reader = new LogReader();
  /** Those not purged, and the newest. */
  readonly #records = new Map<number, BatchRecord>();
  #last: BatchRecord | null = null;
  #captured: readonly StoredLayout[] = [];
  #carried: ReadonlySet<string> = new Set();
  readonly #uncarried: Uncarried;
  readonly #truncation: TruncationWatch;
  readonly #pins: Pins;
  readonly #driftThrottle = new Throttle();
  /** Where the log stood when drift was last looked for. */
  #checked = { highest: 0, batch: 0 };
  #purgedUpTo = 0;
  /** Is the floor to be raised before the next look? A look that is under way may still see what was purged. */
  #isFloorDue = false;
  readonly #looks: Looks;
  readonly #remover: Remover;

  constructor(
    timeline: string,
    sessions: BatchSessions,
    { records, logger }: { readonly records: readonly BatchRecord[]; readonly logger: Logger },
  ) {
    this.#timeline = timeline;
    this.#sessions = sessions;
    this.#uncarried = new Uncarried(sessions.side, logger);
    this.#truncation = new TruncationWatch(sessions.side);
    this.#pins = new Pins(sessions.side);
    this.#looks = new Looks(sessions, this.#seen, this.#reader);
    this.#remover = new Remover(sessions.openRemover);
    for (const record of records) this.#remember(record);
    this.#raiseFloor();
    this.#noteChecked();
  }

  /** Where rows that no batch holds may be. */
  get seen(): SeenIds {
    return this.#seen;
  }

  /** `layouts`: all that log rows may be of; `captured`: those whose tables and triggers are to be watched. */
  setLayouts(layouts: readonly StoredLayout[], captured: readonly StoredLayout[]): void {
    this.#reader.setLayouts(layouts);
    this.#captured = captured;
    this.#carried = new Set(captured.map(({ table }) => table.name));
    const others = layouts.filter(({ active, table }) => active && !this.#carried.has(table.name));
    this.#uncarried.watch(others);
    this.#looks.setLayouts(captured);
    this.#truncation.watch(captured);
    this.#pins.watch([...captured, ...others].map(({ table }) => table.name));
  }

  async last(): Promise<BatchHeader | null> {
    return this.#last?.header ?? null;
  }

  async header(batch: number): Promise<BatchHeader | null> {
    return this.#records.get(batch)?.header ?? null;
  }

  async cut(requests: readonly ChunkRequest[] = []): Promise<Cut> {
    for (;;) {
      const view = await this.#lookUnlessAltered(requests);
      if (view === null) continue;
      const isEmpty = view.unseen.ids.highest === null;
      // Each in a session of its own.
      const tables = this.#tablesIn(view.unseen, requests.slice(0, view.chunks.length));
      const [isAltered, cutAt] = await Promise.all([this.#pins.differ(tables), view.closedAt]);
      if (isAltered) await this.#pins.renew(() => this.#lookAt(tables));
      else {
        const isIdle = isEmpty && view.chunks.length === 0;
        await this.#checkDrift(isIdle ? DRIFT_WHILE_IDLE_MS : DRIFT_EVERY_MS);
      }
      const { chunks } = view;
      if (isEmpty) return { header: null, pages: none(), chunks };
      const { record, rows } = await this.#store(view.unseen, cutAt);
      return {
        header: record.header,
        pages: this.#cutPages(record, rows),
        chunks,
      };
    }
  }

  /** Looks at all that is captured: neither TRUNCATE nor most of ALTER is seen by a cut in which nothing is. */
  look(): Promise<boolean> {
    return this.#checkDrift(0);
  }

  async *pages(batch: number): AsyncGenerator<readonly Change[]> {
    const record = this.#records.get(batch);
    if (record?.purged !== "no") throw batchPurged(batch);
    let left = record.ids.size;
    for await (const rows of readRuns(this.#sessions.main, record.ids.runs)) {
      left -= rows.length;
      yield* this.#pageOf(rows, batch);
    }
    if (left === 0) return;
    if (this.#records.get(batch)?.purged !== "no") throw batchPurged(batch);
    throw rowsMissing(batch, left);
  }

  async purge(upTo: number): Promise<void> {
    this.#purgedUpTo = Math.max(this.#purgedUpTo, upTo);
    const confirmed = [...this.#records.values()].filter(({ header }) => header.batch <= upTo);
    if (confirmed.every(isGone)) return;
    const open = await this.#remover.lowestOpen(this.#seen);
    // Triggers may outlive the syncs that they were made for.
    const kept = this.#looks.reached.length === 0 ? Number.POSITIVE_INFINITY : open;
    const needed = confirmed.findIndex(({ ids }) => (ids.highest ?? 0) >= kept);
    const due = needed === -1 ? confirmed : confirmed.slice(0, needed);
    // Together: a transaction for each of hundreds of batches a second would cost as much as the cuts.
    const ids = new IdSet();
    for (const record of due) if (!isGone(record)) ids.addAll(record.ids.runs);
    const newest = due.at(-1);
    if (newest !== undefined && ids.size > 0) {
      await markPurged(this.#sessions.side, newest.header.batch, "going");
      // Also where it fails half way, and this one is still asked for them.
      for (const record of due) this.#note(record, isGone(record) ? "gone" : "going");
      failpoint("purge-half");
      await this.#remover.remove(ids.runs);
      failpoint("purge-half");
    }
    // The rows first: a record without its rows is purged again after a crash, rows without
    // their record would be cut into a second batch.
    await this.#purgeRecords(due);
    if (this.#seen.gaps.length > MAX_GAPS) this.#isFloorDue = true;
  }

  /** A table that was altered is not read any more: what was altered says more than what fails. */
  async #lookUnlessAltered(requests: readonly ChunkRequest[]): Promise<View | null> {
    try {
      if (this.#isFloorDue) this.#raiseFloor();
      this.#isFloorDue = false;
      return await this.#looks.take(requests);
    } catch (error) {
      if (!isTidemarkError(error) || !error.retryable) await this.#checkDrift(0);
      throw error;
    }
  }

  /** Whose rows are seen: where they are many, any. */
  #tablesIn({ ids, rows, answers }: Look, read: readonly ChunkRequest[]): ReadonlySet<string> {
    const tables = new Set(read.map(({ table }) => table.name));
    if (ids.highest === null) return tables;
    const layouts =
      rows === null ? null : new Set([...rows, ...answers].map(({ layout }) => layout));
    for (const { id, table } of [...this.#captured, ...this.#uncarried.layouts]) {
      if (layouts?.has(id) !== false) tables.add(table.name);
    }
    return tables;
  }

  /** Leaves what is still being read. */
  close(): void {
    this.#looks.close();
    this.#remover.close();
  }

  async #store(look: Look, cutAt: string): Promise<{ record: BatchRecord; rows: Unseen["rows"] }> {
    const { main } = this.#sessions;
    const { ids, answers, lastAt } = look;
    const store = () =>
      storeBatch(main, { timeline: this.#timeline, previous: this.#last, ids, cutAt, lastAt });
    let { rows } = look;
    let record: BatchRecord;
    if (answers.length === 0) record = await store();
    else {
      // Together: another snapshot may have other answers.
      record = await inTransaction(main, async () => {
        const logged = await logAnswers(main, answers, lastAt);
        for (const { id } of logged) ids.add(id);
        rows &&= [...rows, ...logged];
        return await store();
      });
    }
    this.#remember(record);
    return { record, rows };
  }

  #cutPages(record: BatchRecord, rows: Unseen["rows"]): AsyncIterable<readonly Change[]> {
    return rows === null
      ? this.pages(record.header.batch)
      : this.#pageOf(rows, record.header.batch);
  }

  async *#pageOf(rows: readonly LogRow[], batch: number): AsyncGenerator<readonly Change[]> {
    const reader = this.#reader;
    const changes = rows
      .filter(({ op }) => op !== MARK)
      .map((row) => reader.change(row, batch, this.#carried));
    // Before anybody reads on.
    if (reader.lost.size > 0) await this.#uncarried.lose(reader.lost);
    reader.lost.clear();
    if (changes.length > 0) yield changes;
  }

  #remember(record: BatchRecord): void {
    this.#records.set(record.header.batch, record);
    this.#seen.add(record.ids, record.highest);
    this.#last = record;
  }

  /** Below the lowest id of what is not purged stands no row that a batch holds. */
  #raiseFloor(): void {
    const lowest = [...this.#records.values()]
      .filter((record) => !isGone(record))
      .map(({ ids }) => ids.lowest ?? Number.POSITIVE_INFINITY);
    this.#seen.raiseFloor(Math.min(this.#seen.highest + 1, ...lowest));
  }

  /** All but the newest, which the next batch is chained to. */
  async #purgeRecords(due: readonly BatchRecord[]): Promise<void> {
    const { side } = this.#sessions;
    const last = this.#last?.header.batch ?? 0;
    const gone = due.map(({ header }) => header.batch).filter((batch) => batch < last);
    for (let at = 0; at < gone.length; at += PURGE_RECORDS) {
      const some = gone.slice(at, at + PURGE_RECORDS);
      await side.run(`DELETE FROM ${BATCHES} WHERE n <= ${some.at(-1)}`);
      for (const batch of some) this.#records.delete(batch);
    }
    const kept = due.find((record) => record.header.batch === last && !isGone(record));
    if (kept === undefined) return;
    await markPurged(side, last, "gone");
    this.#note(kept, "gone");
  }

  #note({ header }: BatchRecord, purged: Purged): void {
    const record = this.#records.get(header.batch);
    if (record === undefined) return;
    const marked: BatchRecord = { ...record, purged };
    this.#records.set(header.batch, marked);
    // A cut may have made a newer one meanwhile.
    if (this.#last === record) this.#last = marked;
  }

  /** Some of these tables are not as they were, or not known yet. */
  async #lookAt(tables: ReadonlySet<string>): Promise<void> {
    await this.#checkDrift(0);
    const ended = await this.#uncarried.endReading(tables, this.#last?.header.batch ?? 0);
    this.#reader.setLayouts(ended);
  }

  /** Before anything of a cut is stored or given out. False where it cannot be told whether a table was truncated. */
  async #checkDrift(everyMs: number): Promise<boolean> {
    let isKnown = true;
    await this.#driftThrottle.every(everyMs, async () => {
      await checkDrift(this.#sessions.side, this.#captured, this.#seen.highest);
      const { highest, batch } = this.#checked;
      isKnown = await this.#truncation.check({ highest, purged: this.#purgedUpTo > batch });
      if (isKnown) this.#noteChecked();
    });
    return isKnown;
  }

  #noteChecked(): void {
    this.#checked = { highest: this.#seen.highest, batch: this.#last?.header.batch ?? 0 };
  }
}

async function* none(): AsyncGenerator<readonly Change[]> {}
