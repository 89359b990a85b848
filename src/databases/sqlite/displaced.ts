import type { Cell } from "./cells.ts";
import { readCells } from "./cells.ts";
import type { Connection } from "./connection.ts";
import { readTable, type TableFacts } from "./facts.ts";
import { quoteName } from "./identifiers.ts";
import { bindCell, keyText, type Layouts } from "./layouts.ts";
import { LOG, logWidth } from "./ours.ts";

/** What an entry of the log turns out to be: a delete, or nothing. */
export interface Verdict {
  readonly id: bigint;
  readonly layout: number;
  readonly op: "d" | "-";
}

/**
 * Rows that REPLACE removes.
 *
 * `INSERT OR REPLACE` and `UPDATE OR REPLACE` remove every other row that holds one of the new
 * row's unique values, and fire no delete trigger for it unless the *writer's* connection has set
 * recursive_triggers, which ours cannot know. So a BEFORE trigger notes, as `x`, each row that the
 * new row would collide with. The collision may then have ended in any way: the row replaced, the
 * statement ignored, an upsert turned into an update; and triggers of the application may have
 * written the row once more in between. What became of a noted row is known when the batch is cut:
 *
 * - the log says next that it was inserted: it was gone in between;
 * - the log's last word is that it is there, and in the snapshot of the cut it is not: it is gone.
 *
 * In both cases the last entry before that (the note itself, or an update) becomes a delete: it
 * stands before the row that took the place. All other notes become nothing. Entries are settled
 * before the batch that holds them is recorded, so a recorded batch never changes (B1).
 *
 * `after` and `to` bound the new batch; runs in the snapshot of the cut.
 */
export function settleDisplaced(
  connection: Connection,
  layouts: Layouts,
  after: bigint,
  to: bigint,
): Verdict[] {
  const first = connection.value(
    `SELECT min(id) FROM ${LOG} WHERE op = 'x' AND id > ? AND id <= ?`,
    after,
    to,
  );
  if (typeof first !== "bigint") return [];
  const verdicts: Verdict[] = [];
  /** The last entry of each noted key. */
  const noted = new Map<string, KeyEntry>();
  const settle = (entry: KeyEntry, displaced: boolean) => {
    if (displaced) verdicts.push({ id: entry.id, layout: entry.layout, op: "d" });
    else if (entry.op === "x") verdicts.push({ id: entry.id, layout: entry.layout, op: "-" });
  };
  for (const entry of keysOf(connection, layouts, first, to)) {
    const text = keyText(layouts.get(entry.layout), entry.key);
    const last = noted.get(text);
    if (entry.op === "-" || (last === undefined && entry.op !== "x")) continue;
    if (last !== undefined) settle(last, entry.op === "i" && !isGone(last) && last.op !== "i");
    noted.set(text, entry);
  }
  const isThere = presence(connection, layouts);
  for (const entry of noted.values()) settle(entry, !isGone(entry) && !isThere(entry));
  return verdicts;
}

/** In a write transaction. What is settled stays: another relay, which we do not see, may have done so since we looked. */
export function applyVerdicts(
  connection: Connection,
  layouts: Layouts,
  verdicts: readonly Verdict[],
): void {
  for (const { id, layout, op } of verdicts) {
    if (op === "-") connection.run(`UPDATE ${LOG} SET op = '-' WHERE id = ? AND op = 'x'`, id);
    else {
      // A note has its key where deletes have it; an update has it in the row.
      const keys = layouts.get(layout).key.map((place, i) => {
        const key = `k${i + 1}`;
        return `${key} = CASE op WHEN 'x' THEN ${key} ELSE c${place + 1} END`;
      });
      connection.run(
        `UPDATE ${LOG} SET op = 'd', ${keys.join(", ")} WHERE id = ? AND op <> 'd'`,
        id,
      );
    }
  }
}

interface KeyEntry {
  readonly id: bigint;
  readonly op: string;
  readonly layout: number;
  readonly key: readonly Cell[];
}

function isGone({ op }: KeyEntry): boolean {
  return op === "d" || op === "k";
}

const PAGE = { rows: 2_000, bytes: 1 << 20 };

function* keysOf(
  connection: Connection,
  layouts: Layouts,
  first: bigint,
  to: bigint,
): Generator<KeyEntry> {
  const width = logWidth(connection);
  const places = [...new Set(layouts.all().flatMap((layout) => layout.key))].sort((a, b) => a - b);
  const cells = ["id", "op", "layout"];
  for (let i = 1; i <= width.keys; i++) cells.push(`k${i}`);
  for (const place of places) cells.push(`c${place + 1}`);
  const from = `FROM ${LOG} WHERE id >= ? AND id <= ? ORDER BY id LIMIT ${PAGE.rows + 1}`;
  for (let next = first; ; ) {
    const page = readCells(connection, { cells, from }, [next, to], PAGE);
    for (const row of page.rows) {
      const id = row[0] as bigint;
      const op = String(row[1]);
      const layout = Number(row[2]);
      const { key } = layouts.get(layout);
      const inKeys = op === "x" || op === "d" || op === "k";
      const cellAt = (index: number, i: number) =>
        row[inKeys ? 3 + i : 3 + width.keys + places.indexOf(index)] ?? null;
      yield { id, op, layout, key: key.map(cellAt) };
      next = id + 1n;
    }
    if (!page.cut) return;
  }
}

/** Is there a row with exactly this key? Tables are looked up once. */
function presence(connection: Connection, layouts: Layouts): (entry: KeyEntry) => boolean {
  const tables = new Map<number, TableFacts | null>();
  return ({ key, layout }) => {
    let facts = tables.get(layout);
    if (facts === undefined) {
      facts = readTable(connection, layouts.get(layout).table.name);
      tables.set(layout, facts);
    }
    if (facts === null) return true;
    const bound = key.map(bindCell);
    const test = facts.key.map((part, i) => {
      const column = quoteName(part.name);
      const value = bound[i]?.sql ?? "?";
      return `${column} COLLATE ${part.collation} = ${value} AND ${column} COLLATE BINARY = ${value}`;
    });
    const sql = `SELECT 1 FROM ${quoteName(facts.name)} WHERE ${test.join(" AND ")}`;
    return connection.value(sql, ...bound.flatMap(({ value }) => [value, value])) === 1n;
  };
}
