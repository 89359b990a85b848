import { TidemarkError } from "../../core/errors.ts";
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
 * One that is detached or dropped takes its rows away from under the table, of which no write of ours is told.
 * Known for as long as a session lasts: to start again is how people say that it was meant.
 */
export class TargetPartitions {
  readonly #connection: Connection;
  readonly #parts: readonly Part[];

  private constructor(connection: Connection, parts: readonly Part[]) {
    this.#connection = connection;
    this.#parts = parts;
  }

  static async load(connection: Connection, roots: readonly string[]): Promise<TargetPartitions> {
    const rows = (await connection.rows(PARTS, [formatArrayText(roots)])) as string[][];
    const parts = rows.map(([root = "", oid = "", parent = "", schema = "", name = ""]) => {
      return { root, oid, parent, name: { schema, name } };
    });
    return new TargetPartitions(connection, parts);
  }

  /** Throws TM-SCHEMA-DRIFT when one is no longer a part of what it was part of. */
  async assertNoneGone(nameOf: (root: string) => TableName): Promise<void> {
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
    const gone = new Set(rows.map(([oid]) => oid as string));
    const first = this.#parts.find(({ oid }) => gone.has(oid));
    if (first === undefined) return;
    const same = this.#parts.filter(({ oid, root }) => root === first.root && gone.has(oid));
    throw lost(
      nameOf(first.root),
      same.map(({ name }) => name),
    );
  }
}

function lost(table: TableName, parts: readonly TableName[]): TidemarkError {
  const [name, list] = [formatTable(table), parts.map(formatTable).join(", ")];
  return new TidemarkError(
    "TM-SCHEMA-DRIFT",
    `Of ${name} at the target what was part of it was detached or dropped, with the rows that it held: ${list}.`,
    {
      fix: `If the source still has those rows: give them a partition again, then ${resyncCommand(table)} (by its name at the source), then tidemark run: it is copied anew. If they are to be gone at the target: start again.`,
      details: { table: name },
    },
  );
}

/** By text, since versions before 14 lack the column: rows are out of sight as soon as DETACH CONCURRENTLY has begun. */
const STAYS = "to_jsonb(h) ->> 'inhdetachpending' IS DISTINCT FROM 'true'";

const PARTS = `SELECT w.oid, t.relid, h.inhparent::oid, n.nspname, c.relname
  FROM unnest($1::oid[]) AS w(oid)
  CROSS JOIN LATERAL ${partitionTree("w.oid")} AS t
  JOIN pg_inherits h ON h.inhrelid = t.relid
  JOIN pg_class c ON c.oid = t.relid JOIN pg_namespace n ON n.oid = c.relnamespace
  WHERE t.relid <> w.oid AND ${STAYS} ORDER BY n.nspname, c.relname`;

const GONE = `SELECT w.oid FROM unnest($1::oid[], $2::oid[]) AS w(oid, parent)
  WHERE NOT EXISTS (SELECT FROM pg_inherits h
    WHERE h.inhrelid = w.oid AND h.inhparent = w.parent AND ${STAYS})`;
