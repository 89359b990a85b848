import type { Finding } from "../../core/database.ts";
import type { Logger } from "../../core/log.ts";
import { decodeLines, type RowLines } from "../../core/row-lines.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import type { BoundTable, Progress } from "../../core/target.ts";
import type { Row } from "../../core/value.ts";
import { tableKey } from "./catalog.ts";
import type { Connection } from "./connection.ts";
import { quoteIdentifier, quoteLiteral, quoteTable, schemaOf } from "./identifiers.ts";
import { formatArrayText } from "./row-text.ts";

/** A sequence that numbers a column we write. */
interface Numbering {
  readonly bound: BoundTable;
  /** Index into the table's columns. */
  readonly column: number;
  readonly sequence: string;
  /** Does it count down? */
  readonly descending: boolean;
  /** Is there an index that tells the greatest value at once? */
  readonly indexed: boolean;
  /** The furthest value that the sequence is known to have passed. */
  reached: bigint;
  /** The furthest value written since. */
  written: bigint | null;
  /** Rows were written that nobody has read: the table itself must be asked. */
  unseen: boolean;
}

/**
 * Keeps the sequences of identity and serial columns ahead of the values that come from the source, so
 * that whoever writes the target after a switch-over is given new ones. A commit that brings no further
 * value costs nothing.
 */
export class Sequences {
  readonly #byTable = new Map<string, Numbering[]>();

  static async load(
    connection: Connection,
    tables: readonly BoundTable[],
    logger: Logger,
  ): Promise<Sequences> {
    const names = tables.map(({ name }) => name);
    const sequences = new Sequences();
    for (const owned of await ownedSequences(connection, names)) {
      const [place, name, sequence, increment, allowed, indexed, last, start] = owned;
      const bound = tables[Number(place) - 1];
      const column = bound?.columns.findIndex((each) => each.name === name) ?? -1;
      if (bound === undefined || column === -1) continue;
      if (allowed !== "t") {
        logger.warn(
          { table: formatTable(bound.name), sequence },
          "the sequence is not kept ahead of what is applied: see docs/reference/grants.md",
        );
        continue;
      }
      const descending = Number(increment) < 0;
      // Of one that has given nothing yet, the first number is still to be passed.
      const reached =
        last === null ? BigInt(start ?? "0") + (descending ? 1n : -1n) : BigInt(last ?? "0");
      sequences.#add({
        bound,
        column,
        sequence: sequence as string,
        descending,
        indexed: indexed === "t",
        reached,
        written: null,
        // Whatever stood or was written before: looked at once.
        unseen: true,
      });
    }
    return sequences;
  }

  /** Takes note of rows about to be written. */
  note(table: BoundTable, rows: readonly Row[]): void {
    for (const numbering of this.#of(table)) noteRows(numbering, rows);
  }

  /** The same of rows as lines, which are not read where the table can tell without being read whole. */
  noteLines(table: BoundTable, lines: RowLines): void {
    const areCopied = lines.insertedBy === undefined;
    for (const numbering of this.#of(table)) {
      if (areCopied || numbering.indexed) numbering.unseen = true;
      else noteRows(numbering, rowsOf(lines));
    }
  }

  /** What is to run before a commit. */
  takeDue(next: Progress): string[] {
    const copying = next.tables.some(({ state }) => state !== "live");
    const due: string[] = [];
    for (const numbering of [...this.#byTable.values()].flat()) {
      const { bound, written, indexed } = numbering;
      // Where it takes reading the whole table, once behind the copy.
      const ask = numbering.unseen && (indexed || !copying);
      if (!ask && written === null) continue;
      const column = quoteIdentifier(bound.columns[numbering.column]?.name ?? "");
      const furthest = numbering.descending ? "min" : "max";
      const table = `(SELECT ${furthest}(${column}) FROM ${quoteTable(bound.name)})`;
      due.push(advance(numbering, ask ? table : `${written}`));
      if (ask) numbering.unseen = false;
      if (written !== null) numbering.reached = written;
      numbering.written = null;
    }
    return due;
  }

  #of(table: BoundTable): readonly Numbering[] {
    return this.#byTable.get(tableKey(table.name)) ?? [];
  }

  #add(numbering: Numbering): void {
    const { bound } = numbering;
    this.#byTable.set(tableKey(bound.name), [...this.#of(bound), numbering]);
  }
}

function noteRows(numbering: Numbering, rows: Iterable<Row>): void {
  const { column, descending } = numbering;
  for (const row of rows) {
    const value = row[column];
    if (typeof value !== "string" || !/^-?\d+$/.test(value)) continue;
    const number = BigInt(value);
    const furthest = numbering.written ?? numbering.reached;
    if (descending ? number < furthest : number > furthest) numbering.written = number;
  }
}

function* rowsOf(lines: RowLines): Generator<Row> {
  for (const { row } of decodeLines(lines)) if (row !== null) yield row;
}

/** For `doctor`: those that we may not move. */
export async function sequenceFindings(
  connection: Connection,
  tables: readonly TableName[],
): Promise<Finding[]> {
  const owned = await ownedSequences(connection, tables);
  const [role] = await connection.rows("SELECT current_user");
  return owned.flatMap(([place, column, sequence, , allowed]): Finding[] => {
    const table = tables[Number(place) - 1];
    if (allowed === "t" || table === undefined) return [];
    return [
      {
        check: "sequence-behind",
        severity: "warning",
        message: `The role may not move the sequence ${sequence}: it stays behind what is applied to ${formatTable(table)}.${column}, and whoever inserts here after a switch-over is given numbers that stand already.`,
        fix: `GRANT SELECT, UPDATE ON SEQUENCE ${sequence} TO ${quoteIdentifier(role?.[0] ?? "")};`,
      },
    ];
  });
}

function ownedSequences(
  connection: Connection,
  tables: readonly TableName[],
): Promise<readonly (readonly (string | null)[])[]> {
  return connection.rows(OWNED, [
    formatArrayText(tables.map(schemaOf)),
    formatArrayText(tables.map(({ name }) => name)),
  ]);
}

/** Beyond so many steps the sequence is set. */
const MANY_STEPS = 1_000;

/**
 * Neither way is undone by a rollback, which only leaves a gap. A few steps are drawn like any other
 * number, so that somebody who draws meanwhile is never put back; a wide gap is set in one go. What lies
 * beyond the sequence's own bounds is left alone.
 */
function advance({ sequence, descending }: Numbering, to: string): string {
  const greater = descending ? "<" : ">";
  const named = `${quoteLiteral(sequence)}::regclass`;
  return `SELECT CASE
  WHEN steps > ${MANY_STEPS} THEN setval(${named}, wanted)
  ELSE (SELECT ${descending ? "min" : "max"}(nextval(${named})) FROM pg_catalog.generate_series(1, steps))
END FROM (
  SELECT s.wanted, ceil(abs(s.wanted::numeric - q.last_value::numeric) / abs(p.seqincrement::numeric))::bigint + (NOT q.is_called)::int AS steps
  FROM (SELECT ${to}::bigint AS wanted) s, ${sequence} q, pg_sequence p
  WHERE p.seqrelid = ${named}::oid
    AND (s.wanted ${greater} q.last_value OR (s.wanted = q.last_value AND NOT q.is_called))
    AND s.wanted BETWEEN p.seqmin AND p.seqmax
) AS gap`;
}

/**
 * Sequences that number a column: owned by it (identity, serial), or named by its default alone.
 * Columns: place in the list, column, sequence, increment, may we, is the column the first of an index,
 * the last number given (null: none yet), the first one.
 */
const OWNED = `
SELECT w.place, a.attname, d.sequence::regclass::text, p.seqincrement,
       has_sequence_privilege(d.sequence, 'SELECT') AND has_sequence_privilege(d.sequence, 'UPDATE'),
       EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indkey[0] = a.attnum
               AND i.indisvalid AND i.indpred IS NULL),
       CASE WHEN has_sequence_privilege(d.sequence, 'SELECT') THEN pg_sequence_last_value(d.sequence) END,
       p.seqstart
FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, place)
JOIN pg_namespace n ON n.nspname = w.schema
JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN LATERAL (
  SELECT s.objid AS sequence FROM pg_depend s
  WHERE s.classid = 'pg_class'::regclass AND s.refclassid = 'pg_class'::regclass
    AND s.refobjid = c.oid AND s.refobjsubid = a.attnum AND s.deptype IN ('a', 'i')
  UNION
  SELECT u.refobjid FROM pg_attrdef e JOIN pg_depend u ON u.classid = 'pg_attrdef'::regclass AND u.objid = e.oid
  WHERE e.adrelid = c.oid AND e.adnum = a.attnum AND u.refclassid = 'pg_class'::regclass
) AS d ON true
JOIN pg_sequence p ON p.seqrelid = d.sequence
WHERE a.attgenerated = '' AND a.atttypid IN ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)`;
