import { sha256 } from "../../core/hash.ts";
import type { CascadeTrigger } from "./cascade-sql.ts";
import { type CascadeStep, flatten, goesOn, reached } from "./cascades.ts";
import { LOG, PREFIX } from "./ours.ts";
import { fromPath } from "./references.ts";

/**
 * Latecomers: rows that another session puts below a deletion while it is carried out.
 *
 * The rows that will go are read with a shared lock, and only what the statement itself deletes is locked against
 * every other. Where gaps are not locked (READ COMMITTED), a row may still come below one of the first level, and
 * the action takes it along. It was committed before that, or the action would have had to wait for it, and its own
 * trigger has logged it. So when the deletion is done, whatever was logged meanwhile is logged once more, as a
 * question that the cut answers (latecomers.ts). Ids are drawn in order of time: two rows that say nothing bound
 * that while. The log is read between them alone, whatever the isolation: with a lock it would be read, and kept
 * from growing, only in a session that is SERIALIZABLE, where gaps are locked.
 */

/** The operation of a log row that says nothing. */
export const MARK = "-";
/** The operation of a log row that asks whether the row still stands as it says. */
export const QUESTION = "?";

/** Opens the while, before the rows that will go are read. Empty where the deletion goes down one level. */
export function openWhile({ table, steps, isolation }: CascadeTrigger): string {
  const below = steps.filter(goesOn);
  if (below.length === 0) return "";
  const exists = below.map(({ path }) => `EXISTS (SELECT 1 FROM ${fromPath(path, "OLD")})`);
  return `SET ${variable(table)} = NULL;
IF @@${isolation} <> 'SERIALIZABLE' AND (${exists.join(" OR ")}) THEN
${insert(["0", `'${MARK}'`, "''", "''"])}
SET ${variable(table)} = LAST_INSERT_ID();
END IF;`;
}

/**
 * The body of the trigger after the deletion. A question holds the id that the row has in the log; and `m` where
 * the row may have been moved, with others below it that were not logged.
 */
export function latecomersBody({ table, steps, layouts }: CascadeTrigger): string {
  const from = variable(table);
  const late = flatten(steps).filter(({ path }) => path.length > 1);
  const where = (ops: string, some: readonly CascadeStep[]) => {
    const ids = new Set(some.flatMap((step) => layouts.get(reached(step))?.id ?? []));
    return ids.size === 0 ? "FALSE" : `op IN (${ops}) AND layout IN (${[...ids].join(", ")})`;
  };
  return `BEGIN
IF ${from} IS NOT NULL THEN
BEGIN
DECLARE tidemark_from BIGINT UNSIGNED DEFAULT ${from};
DECLARE tidemark_to BIGINT UNSIGNED;
DECLARE tidemark_layout INT UNSIGNED;
DECLARE tidemark_row LONGTEXT CHARACTER SET utf8mb4;
DECLARE tidemark_asked VARCHAR(255) CHARACTER SET utf8mb4;
DECLARE tidemark_done BOOLEAN DEFAULT FALSE;
DECLARE tidemark_rows CURSOR FOR SELECT layout, row_after, CONCAT(id, IF(${where("'U'", late.filter(goesOn))}, 'm', '')) FROM ${LOG} FORCE INDEX (PRIMARY) WHERE id > tidemark_from AND id < tidemark_to AND ${where("'I', 'U'", late)} ORDER BY id;
DECLARE CONTINUE HANDLER FOR NOT FOUND SET tidemark_done = TRUE;
${insert(["0", `'${MARK}'`, "''", "''"])}
SET tidemark_to = LAST_INSERT_ID();
OPEN tidemark_rows;
tidemark_each: LOOP
FETCH tidemark_rows INTO tidemark_layout, tidemark_row, tidemark_asked;
IF tidemark_done THEN LEAVE tidemark_each; END IF;
${insert(["tidemark_layout", `'${QUESTION}'`, "tidemark_row", "tidemark_asked"])}
END LOOP;
CLOSE tidemark_rows;
SET ${from} = NULL;
END;
END IF;
END`;
}

function insert(values: readonly string[]): string {
  return `INSERT INTO ${LOG} (at, layout, op, row_after, filters, origin) VALUES (UTC_TIMESTAMP(6), ${values.join(", ")}, @tidemark_origin);`;
}

/** Of the session. A table's own trigger cannot be at work twice: it may not write the table (error 1442). */
function variable(table: string): string {
  return `@${PREFIX}while_${sha256("trigger", table).slice(0, 16)}`;
}
