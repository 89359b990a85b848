import type { Session } from "./connection.ts";
import type { StoredLayout } from "./layouts.ts";
import type { LogRow } from "./log-rows.ts";
import { LOG, MARK } from "./ours.ts";

/** A log row to be written: what became of a latecomer. */
export type Answer = Pick<LogRow, "layout" | "op" | "keyBefore" | "rowAfter" | "filters">;

/** Rows in one statement. */
const ROWS = 100;
/** Characters of rows in one statement: escaped, each may take six bytes, and a server may allow no more than a megabyte. */
const PIECE = 128 << 10;

/** Writes them into the log, and gives them as they then are. In the transaction that stores their batch. */
export async function logAnswers(
  session: Session,
  answers: readonly Answer[],
  at: string,
): Promise<readonly LogRow[]> {
  const written: LogRow[] = [];
  // Of rows whose number is known the ids follow each other (InnoDB's manual on AUTO_INCREMENT).
  const step = Number(await session.value("SELECT @@auto_increment_increment"));
  for (const some of groups(answers)) {
    const binds = some.flatMap(({ layout, op, keyBefore, rowAfter, filters }) => [
      ...[at, layout, op, keyBefore, firstPiece(rowAfter ?? ""), filters],
    ]);
    await session.run(
      `INSERT INTO ${LOG} (at, layout, op, key_before, row_after, filters) VALUES ${some.map(() => "(?, ?, ?, ?, ?, ?)").join(", ")}`,
      binds,
    );
    const first = Number(await session.value("SELECT LAST_INSERT_ID()"));
    for (const [i, answer] of some.entries()) {
      const row: LogRow = {
        ...{ ...answer, id: first + i * step, at, origin: null },
        length: (answer.rowAfter?.length ?? 0) + (answer.keyBefore?.length ?? 0),
      };
      await appendRest(session, row);
      written.push(row);
    }
  }
  return written;
}

/** What was logged of the table before is copied anew. */
export async function markForgotten(session: Session, layout: StoredLayout): Promise<void> {
  await session.run(
    `INSERT INTO ${LOG} (at, layout, op, row_after, filters) VALUES (UTC_TIMESTAMP(6), ?, '${MARK}', '', '')`,
    [layout.id],
  );
}

function groups(answers: readonly Answer[]): Answer[][] {
  const found: Answer[][] = [];
  let group: Answer[] = [];
  let size = 0;
  for (const answer of answers) {
    const length = (answer.rowAfter?.length ?? 0) + (answer.keyBefore?.length ?? 0);
    if (group.length > 0 && (group.length === ROWS || size + length > PIECE)) {
      found.push(group);
      group = [];
      size = 0;
    }
    group.push(answer);
    size += length;
  }
  return group.length === 0 ? found : [...found, group];
}

function firstPiece(text: string): string {
  return text.slice(0, pieceEnd(text, 0));
}

async function appendRest(session: Session, { id, rowAfter }: LogRow): Promise<void> {
  const text = rowAfter ?? "";
  let from = pieceEnd(text, 0);
  while (from < text.length) {
    const to = pieceEnd(text, from);
    await session.run(`UPDATE ${LOG} SET row_after = CONCAT(row_after, ?) WHERE id = ?`, [
      text.slice(from, to),
      id,
    ]);
    from = to;
  }
}

/** No character that takes two units of a text in JavaScript is cut in two. */
function pieceEnd(text: string, from: number): number {
  const to = from + PIECE;
  if (to >= text.length) return text.length;
  return (text.codePointAt(to - 1) ?? 0) > 0xffff ? to - 1 : to;
}
