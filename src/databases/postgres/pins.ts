import { TidemarkError } from "../../core/errors.ts";
import type { Connection } from "./connection.ts";
import { formatArrayText } from "./row-text.ts";

/**
 * A text that stays the same for as long as nobody alters the table's columns, unique keys or rules: which
 * transaction last wrote each of their rows in the catalog. `oid` is an SQL expression. Much else changes
 * it, too (a GRANT on a column, REINDEX CONCURRENTLY): it tells that it is time to look, no more.
 *
 * Read by SQL, and not by the server's own cache, so it is as of the snapshot of the statement.
 */
export function pinSql(oid: string): string {
  return `pg_catalog.concat_ws('|',
    (SELECT pg_catalog.concat_ws('.', n.nspname, c.relname, CASE WHEN c.relhasrules THEN ARRAY(
       SELECT r.oid OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) r.xmin FROM pg_catalog.pg_rewrite r WHERE r.ev_class = c.oid ORDER BY r.oid)::text END)
     FROM pg_catalog.pg_class c
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = ${oid}),
    ARRAY(SELECT a.xmin FROM pg_catalog.pg_attribute a
          WHERE a.attrelid = ${oid} AND a.attnum > 0 ORDER BY a.attnum)::text,
    ARRAY(SELECT i.indexrelid OPERATOR(pg_catalog.||) ':' OPERATOR(pg_catalog.||) i.xmin FROM pg_catalog.pg_index i
          WHERE i.indrelid = ${oid} AND i.indisunique ORDER BY i.indexrelid)::text)`;
}

/** By oid, as they are now. */
export async function loadPins(
  connection: Connection,
  oids: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await connection.rows(
    `SELECT w.oid, ${pinSql("w.oid")} FROM unnest($1::oid[]) AS w(oid)`,
    [formatArrayText(oids)],
  );
  return new Map(rows.map(([oid, pin]) => [oid as string, pin as string]));
}

/** A number, or the error {@link ALTERED} when one of the tables was altered: see {@link pinValues}. */
export function checkPins(oids: string, pins: string): string {
  return `(SELECT pg_catalog.sqrt(0 - count(*))
    FROM unnest(${oids}::oid[], ${pins}::text[]) AS w(oid, pin) WHERE w.pin <> ${pinSql("w.oid")})`;
}

/** invalid_argument_for_power_function */
export const ALTERED = "2201F";

export function pinValues(
  tables: Iterable<{ readonly oid: string; readonly pin: string }>,
): readonly [oids: string, pins: string] {
  const all = [...tables];
  return [formatArrayText(all.map(({ oid }) => oid)), formatArrayText(all.map(({ pin }) => pin))];
}

/** A layout in force, with the pin that its table has now and that is not the one stored. */
export interface StalePin {
  readonly layout: string;
  readonly pin: string;
}

/** Of all tables that are captured here, whoever asked for them. */
export async function stalePins(connection: Connection): Promise<readonly StalePin[]> {
  const rows = await connection.rows(
    `SELECT id, now FROM (
       SELECT id, pin, ${pinSql("table_oid")} AS now FROM tidemark.layouts WHERE retired_at IS NULL
     ) l WHERE pin IS DISTINCT FROM now`,
    [],
    "stale_pins",
  );
  return rows.map(([layout, pin]) => ({ layout: layout as string, pin: pin as string }));
}

export async function storePins(connection: Connection, pins: readonly StalePin[]): Promise<void> {
  await connection.run(
    `UPDATE tidemark.layouts l SET pin = w.pin
     FROM unnest($1::int[], $2::text[]) AS w(id, pin) WHERE l.id = w.id`,
    [
      formatArrayText(pins.map(({ layout }) => layout)),
      formatArrayText(pins.map(({ pin }) => pin)),
    ],
  );
}

/**
 * A row for each captured table that was altered, as far as rows of it stand in `found`; of all tables
 * where `found` holds more than `most` rows, and so perhaps not all.
 */
export function alteredSql(most: number): string {
  return `SELECT FROM tidemark.layouts l
  WHERE l.retired_at IS NULL AND l.pin <> ${pinSql("l.table_oid")}
    AND (l.id = ANY (ARRAY(SELECT DISTINCT left(kind, -1)::int FROM found)) OR (SELECT count(*) FROM found) > ${most})`;
}

/** The target's session knows the table as it was. */
export function altered(database: string, cause: unknown): TidemarkError {
  return new TidemarkError(
    "TM-APPLY-RETRY",
    `A table of "${database}" was altered while it was written: what was not committed is written again, as it now is.`,
    { cause },
  );
}
