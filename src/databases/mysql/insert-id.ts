import type { Flavour } from "./flavour.ts";
import { quoteName } from "./identifiers.ts";
import { LOG, MARK } from "./ours.ts";

/**
 * `SET insert_id` gives the next id that is drawn, whichever table draws it (mysqlbinlog writes it, and a replica of
 * statements sets it). Where that is not the application's table it would be a change's: the write would fail for a
 * duplicate, or stand before one that it follows; and the log would count on from one that may be beyond all numbers. So
 * it is taken away while we write, and given back to whoever it is meant for. The session shows it until the statement
 * ends, also where the inserted row has it by now: `numbered`, the column that would, tells. Given back then, the next
 * trigger of the application that writes a numbered table would take it for that one. A row pays nothing that can be
 * measured for the question.
 */
export function withOwnIds(
  work: string,
  { takesBackIds }: Pick<Flavour, "takesBackIds">,
  numbered: string | null = null,
): string {
  // The log's first row stands for good.
  const waste = `INSERT IGNORE INTO ${quoteName(LOG)} (at, layout, op, row_after, filters) VALUES (UTC_TIMESTAMP(6), 0, '${MARK}', '', '');`;
  return `BEGIN
DECLARE tidemark_insert_id BIGINT UNSIGNED DEFAULT @@insert_id;
IF tidemark_insert_id THEN SET insert_id = 0; ${takesBackIds ? "" : waste} ${numbered === null ? "" : unlessTaken(numbered)} END IF;
${work};
IF tidemark_insert_id THEN SET insert_id = tidemark_insert_id; END IF;
END`;
}

/** A column that has been dropped since has taken nothing. */
function unlessTaken(numbered: string): string {
  return `BEGIN DECLARE EXIT HANDLER FOR 1054 BEGIN END;
IF NEW.${quoteName(numbered)} = tidemark_insert_id THEN SET tidemark_insert_id = 0; END IF; END;`;
}
