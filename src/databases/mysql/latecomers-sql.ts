import { sha256 } from "../../core/hash.ts";
import { unlessMissing } from "./capture-sql.ts";
import type { CascadeTrigger } from "./cascade-sql.ts";
import { type CascadeStep, goesOn } from "./cascades.ts";
import { DELETIONS, LOG, MARK, PREFIX } from "./ours.ts";
import { fromPath } from "./references.ts";

/**
 * Latecomers: rows that another session puts below a deletion, or changes there, while it is carried out.
 *
 * The rows that will go are read with a shared lock, and only what the statement itself deletes is locked against
 * every other, in its primary key. Where gaps are not locked (READ COMMITTED), a row may still come below one of the first
 * level, or on it where it refers to other columns than those of the primary key, and the action takes it along. It was
 * committed before that, or the action would have had to wait for it, and its own trigger has logged it. And of a row that was read only an index may be locked, where that holds its key: it may still
 * be changed, and is then logged as changed after it was logged as gone. So each deletion marks in the log where it began to
 * look and where it was done (ids are drawn in order of time), and the cut looks what became of the rows that
 * were logged between (latecomers.ts). The triggers read nothing of the log: they would see it as of the beginning
 * of the statement that fired them, and with a binary log that is not all rows wait for whoever writes it.
 */

/** Those of what the cut logs by itself (latecomers.ts): younger ids than that of which they tell. */
export const GONE = "d";
export const STANDING = "u";

/** Nothing is under way, whatever a deletion that failed has left. To stand before all else. */
export function forget({ table }: CascadeTrigger): string {
  return `SET ${variable(table)} = NULL;`;
}

/**
 * Before rows are read below which, or among which, one may come behind the look at them. Where that is the second level
 * only, the mark may wait until one of the first is there; and where it is none, until one is logged
 * ({@link beginOnce}).
 */
export function begin(trigger: CascadeTrigger): string {
  if (!trigger.steps.every((step) => isHeldBack(step, trigger.primaryKey))) {
    return beginOnce(trigger);
  }
  const below = trigger.steps.filter(goesOn);
  if (below.length === 0) return "";
  const looks = below.map(({ path }) => {
    const rows = `SELECT 1 FROM ${fromPath(path, "OLD")} LOCK IN SHARE MODE`;
    return unlessMissing(
      `IF NOT tidemark_found THEN SET tidemark_found = EXISTS (${rows}); END IF;`,
    );
  });
  return `${looks.join("\n")}
IF tidemark_found THEN
${beginOnce(trigger)}
END IF;`;
}

/**
 * Does whoever adds a row to this first step wait for the deletion? The foreign key's check locks the row in the index that
 * it refers to, and the deletion has locked it in the primary key, but not yet in any other.
 */
export function isHeldBack({ path }: CascadeStep, primaryKey: readonly string[]): boolean {
  const referred = path[0]?.pairs.map(([, column]) => column) ?? [];
  return JSON.stringify(referred) === JSON.stringify(primaryKey);
}

/** Until a batch holds the mark, the log is kept from there on. */
export function beginOnce({ table }: Pick<CascadeTrigger, "table">): string {
  return `IF ${variable(table)} IS NULL THEN
${mark("NULL")}
SET ${variable(table)} = LAST_INSERT_ID();
INSERT IGNORE INTO ${DELETIONS} (id) VALUES (${variable(table)});
END IF;`;
}

/** The body of the trigger after the deletion. */
export function endBody({ table }: CascadeTrigger): string {
  return `BEGIN
IF ${variable(table)} IS NOT NULL THEN
${mark(`CAST(${variable(table)} AS CHAR)`)}
SET ${variable(table)} = NULL;
END IF;
END`;
}

function mark(began: string): string {
  return `INSERT INTO ${LOG} (at, layout, op, key_before, row_after, filters) VALUES (UTC_TIMESTAMP(6), 0, '${MARK}', ${began}, '', '');`;
}

/** Of the session. A table's own trigger cannot be at work twice: it may not write the table (error 1442). */
function variable(table: string): string {
  return `@${PREFIX}began_${sha256("trigger", table).slice(0, 16)}`;
}
