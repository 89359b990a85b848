import { freeMemory } from "../../core/free-memory.ts";
import { comparePositions, type Position } from "../../core/position.ts";
import type { Mark, QueueMessage } from "../../core/queue.ts";
import { BODY_SIZE, Bodies, fileOf } from "./bodies.ts";
import type { QueueDatabase } from "./database.ts";

/**
 * The rows of one stream. Each stream has a table of its own, so that its sequences are dense (floor,
 * tail]: a position is found by halving, without an index that every append would have to keep up.
 */
export interface StreamRow {
  readonly id: number;
  /** Messages up to this sequence are gone. */
  readonly floor: number;
  readonly tail: number;
  /** JSON of the last message's mark; null when there is none, or since a reset. */
  readonly mark: string | null;
  readonly bytes: number;
}

/** What one row takes beside its body: the mark and the page it shares. */
const ROW_OVERHEAD_BYTES = 256;

export function messageBytes(message: QueueMessage): number {
  return message.body.length + ROW_OVERHEAD_BYTES;
}

export function findStream(database: QueueDatabase, source: string): StreamRow | null {
  const row = database.row(
    "SELECT id, floor, tail, mark, bytes FROM stream WHERE source = ?",
    source,
  );
  return row === undefined ? null : (row as unknown as StreamRow);
}

export function createStream(database: QueueDatabase, source: string): StreamRow {
  database.run("INSERT INTO stream (source, floor, tail, bytes) VALUES (?, 0, 0, 0)", source);
  const stream = findStream(database, source) as StreamRow;
  database.execute(
    `CREATE TABLE ${table(stream)} (
      sequence INTEGER PRIMARY KEY,
      batch INTEGER NOT NULL,
      chunk INTEGER NOT NULL,
      mark TEXT NOT NULL,
      body BLOB NOT NULL
    )`,
  );
  return stream;
}

export function insertMessages(
  database: QueueDatabase,
  stream: StreamRow,
  messages: readonly QueueMessage[],
): void {
  const sql = `INSERT INTO ${table(stream)} (sequence, batch, chunk, mark, body) VALUES (?, ?, ?, ?, ?)`;
  let { tail, bytes, mark } = stream;
  for (const message of messages) {
    const { batch, chunk } = message.mark;
    mark = encodeMark(message.mark);
    bytes += messageBytes(message);
    const stored = Bodies.takes(message) ? database.bodies.write(stream.id, message) : message.body;
    database.run(sql, ++tail, batch, chunk, mark, stored);
  }
  database.run(
    "UPDATE stream SET tail = ?, mark = ?, bytes = ? WHERE id = ?",
    tail,
    mark,
    bytes,
    stream.id,
  );
}

export interface StoredMessage extends QueueMessage {
  readonly sequence: number;
}

/** Messages after `sequence`, in order: up to `bytes` in all, but at least one if there is one. */
export function messagesAfter(
  database: QueueDatabase,
  stream: StreamRow,
  sequence: number,
  bytes: number,
): StoredMessage[] {
  const from = Math.max(sequence, stream.floor);
  const sizes = database.rows(
    `SELECT sequence, ${BODY_SIZE} AS size FROM ${table(stream)} WHERE sequence > ? ORDER BY sequence LIMIT 256`,
    from,
  );
  let left = bytes;
  let last = from;
  for (const row of sizes) {
    left -= Number(row.size);
    if (left < 0 && last !== from) break;
    last = Number(row.sequence);
  }
  if (last === from) return [];
  return database
    .rows(
      `SELECT sequence, mark, body FROM ${table(stream)} WHERE sequence > ? AND sequence <= ? ORDER BY sequence`,
      from,
      last,
    )
    .map((row) => {
      const place = { sequence: Number(row.sequence), mark: decodeMark(String(row.mark)) };
      if (typeof row.body !== "string") return { ...place, body: row.body as Uint8Array };
      const body = database.bodies.read(row.body);
      return { ...place, body, release: () => freeMemory(body) };
    });
}

/**
 * The first sequence whose position is after `position`; tail + 1 when there is none. Positions never
 * go down within a stream (a resend of earlier batches begins with a reset), so halving finds it.
 */
export function sequenceAfter(
  database: QueueDatabase,
  stream: StreamRow,
  position: Position,
): number {
  let low = stream.floor + 1;
  let high = stream.tail + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const row = database.row(
      `SELECT batch, chunk FROM ${table(stream)} WHERE sequence = ?`,
      middle,
    );
    const there = { batch: Number(row?.batch), chunk: Number(row?.chunk) };
    if (comparePositions(there, position) > 0) high = middle;
    else low = middle + 1;
  }
  return low;
}

export function setFloor(database: QueueDatabase, stream: StreamRow, floor: number): void {
  database.run("UPDATE stream SET floor = ? WHERE id = ?", floor, stream.id);
}

/** Empties the stream for readers at once. The sequence it skips makes every tail read before void. */
export function setEmpty(database: QueueDatabase, stream: StreamRow): void {
  const tail = stream.tail + 1;
  database.run(
    "UPDATE stream SET floor = ?, tail = ?, mark = NULL WHERE id = ?",
    tail,
    tail,
    stream.id,
  );
}

export function hasRowsBelowFloor(database: QueueDatabase, stream: StreamRow): boolean {
  const sql = `SELECT 1 FROM ${table(stream)} WHERE sequence <= ? LIMIT 1`;
  return database.row(sql, stream.floor) !== undefined;
}

/** SQL: what stands in a row instead of the body, if anything does. */
const REFERENCE = "iif(typeof(body) = 'text', body, NULL)";

/** Deletes rows at or below the floor, about `bytes` of them. Gives whether more are left. */
export function deleteSlice(database: QueueDatabase, stream: StreamRow, bytes: number): boolean {
  const rows = database.rows(
    `SELECT sequence, ${BODY_SIZE} AS size, ${REFERENCE} AS reference
     FROM ${table(stream)} WHERE sequence <= ? ORDER BY sequence LIMIT 1000`,
    stream.floor,
  );
  let freed = 0;
  let last: number | null = null;
  const files = new Set<string>();
  for (const row of rows) {
    if (freed >= bytes) break;
    freed += Number(row.size) + ROW_OVERHEAD_BYTES;
    last = Number(row.sequence);
    if (row.reference !== null) files.add(fileOf(String(row.reference)));
  }
  if (last === null) return false;
  // The rows of a chunk follow one another: only what comes next may be of the same one.
  const next = database.row(
    `SELECT ${REFERENCE} AS reference FROM ${table(stream)} WHERE sequence > ? ORDER BY sequence LIMIT 1`,
    last,
  );
  files.delete(fileOf(String(next?.reference)));
  // Below the floor nobody reads them, whatever becomes of this transaction.
  for (const file of files) database.bodies.remove(file);
  database.run(`DELETE FROM ${table(stream)} WHERE sequence <= ?`, last);
  database.run("UPDATE stream SET bytes = max(0, bytes - ?) WHERE id = ?", freed, stream.id);
  return true;
}

/** What stands in the rows of every stream instead of a body. */
export function bodyReferences(database: QueueDatabase): ReadonlySet<string> {
  const streams = database.rows("SELECT id FROM stream") as unknown as StreamRow[];
  const rows = streams.flatMap((stream) =>
    database.rows(`SELECT body AS reference FROM ${table(stream)} WHERE typeof(body) = 'text'`),
  );
  return new Set(rows.map(({ reference }) => String(reference)));
}

export function encodeMark(mark: Mark): string {
  const { timeline, batch, chunk, piece, fragment, fragments, last, checksum } = mark;
  return JSON.stringify([timeline, batch, chunk, piece, fragment, fragments, last, checksum]);
}

export function decodeMark(text: string): Mark {
  const [timeline, batch, chunk, piece, fragment, fragments, last, checksum] = JSON.parse(text);
  return { timeline, batch, chunk, piece, fragment, fragments, last, checksum };
}

/** Named by a number that we gave: nothing of a source's name stands in the SQL. */
function table(stream: StreamRow): string {
  return `stream_${Number(stream.id)}`;
}
