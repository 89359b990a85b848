import type { Logger } from "../../core/log.ts";
import { resyncCommand } from "../../core/shell.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { Connection } from "./connection.ts";
import { partitionTree } from "./partitions.ts";
import { formatArrayText } from "./row-text.ts";

/** A partition of a target's table, and what it is a part of; oids. */
interface Part {
  readonly root: string;
  readonly oid: string;
  readonly parent: string;
  readonly name: TableName;
}

/**
 * One that is detached or dropped takes its rows away from under the table, of which no write of ours is told. It is somebody's
 * deed at the target, as a DELETE there is, and mostly meant (what is old goes so): the log says so, and the sync goes on.
 * Known for as long as a session lasts.
 */
export class TargetPartitions {
  readonly #connection: Connection;
  readonly #logger: Logger;
  #parts: readonly Part[];

  private constructor(connection: Connection, logger: Logger, parts: readonly Part[]) {
    this.#connection = connection;
    this.#logger = logger;
    this.#parts = parts;
  }

  static async load(
    connection: Connection,
    roots: readonly string[],
    logger: Logger,
  ): Promise<TargetPartitions> {
    const rows = (await connection.rows(PARTS, [formatArrayText(roots)])) as string[][];
    const parts = rows.map(([root = "", oid = "", parent = "", schema = "", name = ""]) => {
      return { root, oid, parent, name: { schema, name } };
    });
    return new TargetPartitions(connection, logger, parts);
  }

  /** Tells, once, of those that are no longer a part of what they were part of. */
  async tellGone(nameOf: (root: string) => TableName): Promise<void> {
    if (this.#parts.length === 0) return;
    const [oids, parents] = [
      this.#parts.map(({ oid }) => oid),
      this.#parts.map(({ parent }) => parent),
    ];
    const rows = await this.#connection.rows(
      GONE,
      [formatArrayText(oids), formatArrayText(parents)],
      "parts_gone",
    );
    if (rows.length === 0) return;
    const gone = new Set(rows.map(([oid]) => oid as string));
    for (const [root, parts] of Map.groupBy(this.#parts, (part) => part.root)) {
      const names = parts.filter(({ oid }) => gone.has(oid)).map(({ name }) => name);
      if (names.length > 0) this.#logger.warn({}, lost(nameOf(root), names));
    }
    this.#parts = this.#parts.filter(({ oid }) => !gone.has(oid));
  }
}

function lost(table: TableName, parts: readonly TableName[]): string {
  const [name, list] = [formatTable(table), parts.map(formatTable).join(", ")];
  return `${name} at the target lost what was part of it, with the rows that it held (detached or dropped): ${list}. If the source still has those rows and the target is to have them: give them a partition again, and ${resyncCommand(table)} (by its name at the source).`;
}

/** By text, since versions before 14 lack the column: rows are out of sight as soon as DETACH CONCURRENTLY has begun. */
const STAYS =
  "pg_catalog.to_jsonb(h) OPERATOR(pg_catalog.->>) 'inhdetachpending' IS DISTINCT FROM 'true'";

const PARTS = `SELECT w.oid, t.relid, h.inhparent::oid, n.nspname, c.relname
  FROM unnest($1::oid[]) AS w(oid)
  CROSS JOIN LATERAL ${partitionTree("w.oid")} AS t
  JOIN pg_inherits h ON h.inhrelid = t.relid
  JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE t.relid <> w.oid AND ${STAYS} ORDER BY n.nspname, c.relname`;

const GONE = `SELECT w.oid FROM unnest($1::oid[], $2::oid[]) AS w(oid, parent)
  WHERE NOT EXISTS (SELECT FROM pg_inherits h
    WHERE h.inhrelid = w.oid AND h.inhparent = w.parent AND ${STAYS})`;
