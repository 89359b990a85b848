import type { TargetTable } from "../../core/target.ts";
import { plainlyWrites, type TargetTrigger } from "../../core/trigger-text.ts";
import type { Connection } from "./connection.ts";
import { quoteName, sameName } from "./identifiers.ts";
import { isOurs } from "./ours.ts";

/** The application's triggers on standing tables. */
export function targetTriggers(
  connection: Connection,
  tables: readonly TargetTable[],
): readonly TargetTrigger[] {
  const triggers = connection.rows<{ name: string; on: string; sql: string }>(
    `SELECT name, tbl_name AS "on", sql FROM sqlite_schema WHERE type = 'trigger' ORDER BY tbl_name, name`,
  );
  return triggers.flatMap(({ name, on, sql }) => {
    const table = tables.find((each) => sameName(each.name.name, on));
    if (table === undefined || isOurs(name)) return [];
    // Its head names the event and the table.
    const body = /\bBEGIN\b[\s\S]*$/i.exec(sql)?.[0] ?? sql;
    return [
      {
        name,
        table: table.name,
        writes: plainlyWrites(body, table, tables),
        fix: `DROP TRIGGER ${quoteName(name)}`,
      },
    ];
  });
}
