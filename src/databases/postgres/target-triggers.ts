import type { TargetTable } from "../../core/target.ts";
import { plainlyWrites, type TargetTrigger } from "../../core/trigger-text.ts";
import { tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { quoteIdentifier, quoteTable } from "./identifiers.ts";
import { partitionTree } from "./partitions.ts";
import { formatArrayText } from "./row-text.ts";

/**
 * The application's triggers on standing tables and their partitions. One that is `ENABLE ALWAYS` was told to run for
 * replicated rows, one that is `ENABLE REPLICA` does nothing else: both are left to whoever said so.
 */
export async function targetTriggers(
  connection: Connection,
  tables: readonly TargetTable[],
  oids: ReadonlyMap<string, { readonly oid: string }>,
): Promise<readonly TargetTrigger[]> {
  const standing = tables.flatMap((table) => {
    const oid = oids.get(tableKey(table.name))?.oid;
    return oid === undefined ? [] : [{ table, oid }];
  });
  const rows = await connection.rows(
    `SELECT w.oid, t.tgname, n.nspname, c.relname, p.prosrc, l.lanname
     FROM unnest($1::oid[]) AS w(oid)
     CROSS JOIN LATERAL ${partitionTree("w.oid")} AS part(oid)
     JOIN pg_trigger t ON t.tgrelid = part.oid
     JOIN pg_class c ON c.oid = t.tgrelid JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_proc p ON p.oid = t.tgfoid JOIN pg_language l ON l.oid = p.prolang
     WHERE NOT t.tgisinternal AND t.tgenabled = 'O' AND t.tgparentid = 0
       AND p.pronamespace IS DISTINCT FROM to_regnamespace('tidemark')
     ORDER BY w.oid, n.nspname, c.relname, t.tgname`,
    [formatArrayText(standing.map(({ oid }) => oid))],
  );
  return (rows as string[][]).flatMap(
    ([oid, name = "", schema = "", on = "", source = "", language]) => {
      const table = standing.find((each) => each.oid === oid)?.table;
      if (table === undefined) return [];
      const isText = language !== "c" && language !== "internal";
      return [
        {
          name,
          table: table.name,
          writes: isText ? plainlyWrites(source, table, tables) : null,
          fix: `ALTER TABLE ${quoteTable({ schema, name: on })} DISABLE TRIGGER ${quoteIdentifier(name)}`,
        },
      ];
    },
  );
}
