import { isTidemarkError } from "../../core/errors.ts";
import { captureBroken } from "./capture.ts";
import { filterFlags } from "./capture-sql.ts";
import { captureExpression, equalsCaptured } from "./captured-text.ts";
import type { Cell, Session } from "./connection.ts";
import { quoteName, quoteText } from "./identifiers.ts";
import { MARK } from "./latecomers-sql.ts";
import type { StoredLayout } from "./layouts.ts";
import type { LogReader, LogRow } from "./log-rows.ts";
import { LOG } from "./ours.ts";

/** Rows looked for in one statement. */
const PAGE = 100;

interface Standing {
  readonly row: readonly Cell[];
  readonly text: string;
  readonly flags: string;
}

/**
 * What each question of the log (latecomers-sql.ts) comes to, by the snapshot that the session has open: the row
 * has gone; it stands as it was logged, and there is nothing to say; or it stands otherwise, since its reference
 * was set to NULL. Told as the snapshot has it, at the end of a batch of just that snapshot, it is right
 * wherever in the batch it stands. Tables without a key are not among them: with a foreign key they are refused.
 *
 * Throws TM-CAPTURE-BROKEN where others may have gone along, of which nothing tells.
 */
export async function answers(
  session: Session,
  questions: readonly LogRow[],
  reader: LogReader,
): Promise<readonly LogRow[]> {
  const answered: LogRow[] = [];
  for (const id of new Set(questions.map(({ layout }) => layout))) {
    const layout = reader.layout(id);
    const asked = questions.filter((each) => each.layout === id);
    for (let at = 0; at < asked.length; at += PAGE) {
      const page = asked.slice(at, at + PAGE);
      const standing = await find(session, layout, page.map(cellsOf));
      for (const question of page) answered.push(await answer(session, layout, question, standing));
    }
  }
  return answered;
}

async function answer(
  session: Session,
  layout: StoredLayout,
  question: LogRow,
  standing: ReadonlyMap<string, Standing>,
): Promise<LogRow> {
  const cells = cellsOf(question);
  const key = keyOf(layout, cells);
  const found = standing.get(JSON.stringify(key));
  const nothing = { ...question, op: MARK, rowAfter: "", filters: "" };
  if (found !== undefined) {
    if (JSON.stringify(found.row) === JSON.stringify(cells)) return nothing;
    return { ...question, op: "U", rowAfter: found.text, filters: found.flags };
  }
  const [, id = "0", moved = ""] = /^(\d+)(m?)$/.exec(question.filters) ?? [];
  if (await isTold(session, layout, Number(id), key)) return nothing;
  if (moved === "") return { ...nothing, op: "D", keyBefore: JSON.stringify(key) };
  throw captureBroken(
    layout,
    "a row was put below one that was being deleted at that moment, went with it, and may have taken others along",
  );
}

/** The rows that stand under the keys of these, by their keys. */
async function find(
  session: Session,
  layout: StoredLayout,
  rows: readonly (readonly Cell[])[],
): Promise<ReadonlyMap<string, Standing>> {
  const { filters } = layout;
  const select = (flags: string) => session.rows(standingQuery(layout, rows, flags));
  const unknown = `'${"e".repeat(filters.length)}'`;
  const found = await select(filterFlags(filters)).catch((error) => {
    // A condition raises an error for some row: then no row's answer is known.
    if (filters.length === 0 || !isTidemarkError(error) || error.retryable) throw error;
    return select(unknown);
  });
  return new Map(
    found.map(([text, flags]) => {
      const row = JSON.parse(text ?? "[]") as Cell[];
      return [JSON.stringify(keyOf(layout, row)), { row, text: text ?? "", flags: flags ?? "" }];
    }),
  );
}

function standingQuery(
  { table, columns, key }: StoredLayout,
  rows: readonly (readonly Cell[])[],
  flags: string,
): string {
  const text = columns.map((column) => captureExpression(column, quoteName(column.name)));
  const where = rows.map((cells) => {
    const equal = key.flatMap((at) => {
      const column = columns[at];
      return column === undefined ? [] : equalsCaptured(column, cells[at] ?? "");
    });
    return `(${equal.join(" AND ")})`;
  });
  return `SELECT CAST(JSON_ARRAY(${text.join(", ")}) AS CHAR), ${flags} FROM ${quoteName(table.name)} WHERE ${where.join(" OR ")}`;
}

/** Does the log tell by itself that the row of that key was deleted, or changed, after this place in the log? */
async function isTold(
  session: Session,
  layout: StoredLayout,
  after: number,
  key: readonly Cell[],
): Promise<boolean> {
  const cells = key.map((cell) => quoteText(cell ?? ""));
  const rows = await session.rows(
    `SELECT 1 FROM ${LOG} FORCE INDEX (PRIMARY)
     WHERE id > ${after} AND layout = ${layout.id} AND key_before = CAST(JSON_ARRAY(${cells.join(", ")}) AS CHAR) COLLATE ${session.flavour.exactCollation} LIMIT 1`,
  );
  return rows.length > 0;
}

function cellsOf({ rowAfter }: LogRow): readonly Cell[] {
  return JSON.parse(rowAfter ?? "[]") as Cell[];
}

function keyOf({ key }: StoredLayout, cells: readonly Cell[]): readonly Cell[] {
  return key.map((at) => cells[at] ?? null);
}

/** The answers in the place of the questions. */
export async function storeAnswers(session: Session, rows: readonly LogRow[]): Promise<void> {
  for (const { id, op, keyBefore, rowAfter, filters } of rows) {
    await session.run(
      `UPDATE ${LOG} SET op = ?, key_before = ?, row_after = ?, filters = ? WHERE id = ?`,
      [op, keyBefore, rowAfter, filters, id],
    );
  }
}
