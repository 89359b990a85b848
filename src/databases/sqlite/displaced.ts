import type { Cell } from "./cells.ts";
import { readCells } from "./cells.ts";
import type { Connection } from "./connection.ts";
import { readTable } from "./facts.ts";
import { quoteName } from "./identifiers.ts";
import { bindCell, keyText, type Layouts } from "./layouts.ts";
import { LOG, logWidth } from "./ours.ts";

/** What an entry `x` of the log turns out to be. */
export interface Verdict {
  readonly id: bigint;
  readonly op: "d" | "-";
}

/**
 * Rows that REPLACE removes.
 *
 * `INSERT OR REPLACE` and `UPDATE OR REPLACE` remove every other row that holds one of the new
 * row's unique values, and fire no delete trigger for it unless the *writer's* connection has set
 * recursive_triggers, which ours cannot know. So a BEFORE trigger notes, as `x`, each row that the
 * new row would collide with. The collision may then have ended in any way: the row replaced, the
 * statement ignored, an upsert turned into an update. What became of a noted row is known when the
 * batch is cut, from what the log says next about its key:
 *
 * - an insert: it was gone in between, so the note stands for a delete;
 * - an update or a delete: it was still there, so the note stands for nothing;
 * - nothing more: it was removed if and only if it is missing now, in the snapshot of the cut.
 *
 * `x` entries are settled before the batch that holds them is recorded, so a recorded batch never
 * changes (B1). `after` and `to` bound the new batch; runs in the snapshot of the cut.
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
  const open = new Map<string, Noted>();
  for (const { id, op, key, layout } of keysOf(connection, layouts, first, to)) {
    const text = keyText(layouts.get(layout), key);
    const noted = open.get(text);
    if (op === "x") {
      if (noted === undefined) open.set(text, { ids: [id], key, layout });
      else noted.ids.push(id);
    } else if (noted !== undefined && op !== "-") {
      open.delete(text);
      for (const x of noted.ids) verdicts.push({ id: x, op: op === "i" ? "d" : "-" });
    }
  }
  for (const noted of open.values()) {
    const op = isThere(connection, layouts, noted) ? "-" : "d";
    for (const id of noted.ids) verdicts.push({ id, op });
  }
  return verdicts;
}

interface Noted {
  readonly ids: bigint[];
  readonly key: readonly Cell[];
  readonly layout: number;
}

interface KeyEntry {
  readonly id: bigint;
  readonly op: string;
  readonly layout: number;
  readonly key: readonly Cell[];
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
      const inKeys = op === "x" || op === "d";
      const cellAt = (index: number, i: number) =>
        row[inKeys ? 3 + i : 3 + width.keys + places.indexOf(index)] ?? null;
      yield { id, op, layout, key: key.map(cellAt) };
      next = id + 1n;
    }
    if (!page.cut) return;
  }
}

function isThere(connection: Connection, layouts: Layouts, { key, layout }: Noted): boolean {
  const facts = readTable(connection, layouts.get(layout).table.name);
  if (facts === null) return true;
  const bound = key.map(bindCell);
  const test = facts.key
    .map((part, i) => {
      const column = quoteName(part.name);
      const value = bound[i]?.sql ?? "?";
      return `${column} COLLATE ${part.collation} = ${value} AND ${column} COLLATE BINARY = ${value}`;
    })
    .join(" AND ");
  const params = bound.flatMap(({ value }) => [value, value]);
  return connection.value(`SELECT 1 FROM ${quoteName(facts.name)} WHERE ${test}`, ...params) === 1n;
}
