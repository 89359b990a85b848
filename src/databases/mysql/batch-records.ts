import { COPY_ANEW } from "../../core/altered.ts";
import { TidemarkError } from "../../core/errors.ts";
import { batchHash, timelineHash } from "../../core/hash.ts";
import type { BatchHeader } from "../../core/position.ts";
import type { Session } from "./connection.ts";
import { errorNumber } from "./errors.ts";
import { IdSet } from "./id-set.ts";
import { BATCHES } from "./ours.ts";

/** A batch as stored: its header, and the exact ids of its log rows. */
export interface BatchRecord {
  readonly header: BatchHeader;
  readonly ids: IdSet;
  /** The highest id that this batch or one before it holds. */
  readonly highest: number;
  readonly purged: Purged;
}

/** Its rows stand; may be gone, some or all of them; are gone. */
export type Purged = "no" | "going" | "gone";

export function isGone({ purged }: BatchRecord): boolean {
  return purged === "gone";
}

/** As stored: only the newest of those that are purged needs to say so. */
const PURGED: readonly Purged[] = ["no", "gone", "going"];

export interface NewBatch {
  readonly timeline: string;
  readonly previous: BatchRecord | null;
  readonly ids: IdSet;
  /** Both as the server prints UTC. */
  readonly cutAt: string;
  readonly lastAt: string;
}

const COLUMNS = "n, prev_hash, hash, definition, high_id, cut_at, committed_at, purged";

/**
 * Stores the record of a cut. The definition holds the exact ids and the time of the cut to the
 * microsecond, so that a source put back to an earlier state goes on with other hashes.
 * Throws TM-RELAY-FENCED when the number is taken.
 */
export async function storeBatch(session: Session, batch: NewBatch): Promise<BatchRecord> {
  const { timeline, previous, ids } = batch;
  const number = (previous?.header.batch ?? 0) + 1;
  const prevHash = previous?.header.hash ?? timelineHash(timeline);
  const cutAt = isoTime(batch.cutAt);
  const lastAt = isoTime(batch.lastAt);
  const cutBefore = previous?.header.cutAt ?? "";
  const committedAt = later(lastAt, cutBefore);
  const definition = `${ids} ${cutAt} ${committedAt}`;
  const hash = batchHash(prevHash, number, definition);
  const highest = Math.max(previous?.highest ?? 0, ids.highest ?? 0);
  try {
    await session.run(
      `INSERT INTO ${BATCHES} (n, prev_hash, hash, definition, log_rows, high_id, cut_at, committed_at)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
      [number, prevHash, hash, definition, ids.size, highest, cutAt, committedAt],
    );
  } catch (error) {
    if (errorNumber(error) !== DUPLICATE) throw error;
    throw new TidemarkError("TM-RELAY-FENCED", "Another relay has cut the next batch.");
  }
  const header = { timeline, batch: number, hash, prevHash, cutAt, committedAt };
  return { header, ids, highest, purged: "no" };
}

const DUPLICATE = 1062;

/** Before the first of its rows and of those before it is deleted: else who is put back to them would find them broken. */
export async function markPurged(
  session: Session,
  batch: number,
  purged: Exclude<Purged, "no">,
): Promise<void> {
  const mark = PURGED.indexOf(purged);
  await session.run(`UPDATE ${BATCHES} SET purged = ${mark} WHERE n = ?`, [batch]);
}

export async function loadBatches(
  session: Session,
  timeline: string,
): Promise<readonly BatchRecord[]> {
  const rows = await session.rows(`SELECT ${COLUMNS} FROM ${BATCHES} ORDER BY n`);
  const records = rows.map(
    ([n, prevHash, hash, definition, highest, cutAt, committedAt, purged]) => ({
      header: {
        timeline,
        batch: Number(n),
        hash: hash ?? "",
        prevHash: prevHash ?? "",
        cutAt: cutAt ?? "",
        committedAt: committedAt ?? "",
      },
      ids: IdSet.parse((definition ?? "").split(" ")[0] ?? ""),
      highest: Number(highest),
      purged: PURGED[Number(purged)] ?? "no",
    }),
  );
  return withoutPurged(records);
}

/** A purge that died half way has left records of what may be gone: the newest of them has the rows of all that may be left. */
function withoutPurged(records: readonly BatchRecord[]): readonly BatchRecord[] {
  const index = records.findLastIndex(({ purged }) => purged !== "no");
  const last = records[index];
  if (last === undefined) return records;
  const ids = new IdSet();
  for (const record of records.slice(0, index + 1)) ids.addAll(record.ids.runs);
  return [{ ...last, ids }, ...records.slice(index + 1)];
}

/** ISO times of one form sort as text. */
function later(a: string, b: string): string {
  return [a, b].sort()[1] ?? a;
}

/** `2026-11-22 23:00:00.000000` to `2026-11-22T23:00:00.000000Z`. */
export function isoTime(text: string): string {
  return text === "" ? "" : `${text.replace(" ", "T")}Z`;
}

export function batchPurged(batch: number): TidemarkError {
  return new TidemarkError(
    "TM-BATCH-PURGED",
    `Batch ${batch} has been purged from the change log.`,
  );
}

export function rowsMissing(batch: number, count: number): TidemarkError {
  return new TidemarkError(
    "TM-CAPTURE-BROKEN",
    `${count} rows of batch ${batch} are missing from the change log: someone else deleted them.`,
    { fix: COPY_ANEW },
  );
}
