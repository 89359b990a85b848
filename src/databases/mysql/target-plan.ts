import { hasManyTexts } from "../../core/column-type.ts";
import { formatTable, type TableName } from "../../core/table.ts";
import {
  type BoundColumn,
  type BoundTable,
  type ColumnMapping,
  generatedNotes,
  longKeyNote,
  type TargetColumn,
  type TargetPlan,
  type TargetTable,
} from "../../core/target.ts";
import { type TargetTrigger, triggerNotes, triggerProblem } from "../../core/trigger-text.ts";
import { mayBeBlank } from "./blank.ts";
import type { Session } from "./connection.ts";
import { assess } from "./fitness.ts";
import type { Flavour } from "./flavour.ts";
import { BEYOND, mayStand, quoteName, quoteNames, quoteTable } from "./identifiers.ts";
import { isOurs, PREFIX, planOurs } from "./ours.ts";
import { cascadingTables, followedColumns } from "./references.ts";
import { applyRights } from "./rights.ts";
import { loadFacts, type TableFacts, type UniqueIndex } from "./table-facts.ts";
import { hiddenTriggers, targetTriggers } from "./target-triggers.ts";
import { chooseType, columnDdl, INDEX_BYTES, roomsOf } from "./target-types.ts";
import { type NativeColumn, nativeTypeName } from "./types.ts";

/** Compares what is asked with what stands. */
export async function planTarget(
  session: Session,
  asked: readonly TargetTable[],
): Promise<TargetPlan> {
  const problems = asked.map((table) => nameProblem(table, session.foldsNames ? asked : []));
  if (!session.foldsNames) return planStored(session, asked, problems);
  const names = new Map(asked.map(({ name }) => [session.stored(name.name), name]));
  const plan = await planStored(session, asStored(session, asked), problems);
  const asAsked = (name: TableName): TableName => names.get(name.name) ?? name;
  return {
    ...plan,
    mappings: plan.mappings.map((each) => ({ ...each, table: asAsked(each.table) })),
    tables: plan.tables.map((each) => ({ ...each, name: asAsked(each.name) })),
  };
}

/** The tables by the names that the server's catalog has for them. */
export function asStored(session: Session, tables: readonly TargetTable[]): TargetTable[] {
  return tables.map((table) => ({
    ...table,
    name: { ...table.name, name: session.stored(table.name.name) },
  }));
}

/** `problems`: what is wrong with the name of each as it was asked for. */
async function planStored(
  session: Session,
  tables: readonly TargetTable[],
  problems: readonly (string | null)[],
): Promise<TargetPlan> {
  const possible = tables.filter(({ name }) => mayStand(name));
  const facts = await loadFacts(
    session,
    possible.map(({ name }) => name.name),
  );
  const triggers = await targetTriggers(session, possible);
  const statements: string[] = [...(await planOurs(session, "target"))];
  const mappings: ColumnMapping[] = [];
  const unmade: string[] = [];
  for (const [index, table] of tables.entries()) {
    const standing = table.name.schema === null ? facts.get(table.name.name) : undefined;
    const problem = problems[index] ?? null;
    if (table.name.schema !== null) mappings.push(...refuseSchema(table));
    else if (problem !== null) mappings.push(...refuseAll(table, problem));
    else if (standing === undefined) {
      const created = planNew(table, session.flavour);
      refuseNames(table, created.mappings);
      statements.push(created.statement);
      mappings.push(...created.mappings);
      unmade.push(...generatedNotes(table));
    } else {
      const planned = planStanding(table, standing, triggers, session.flavour);
      refuseNames(table, planned);
      mappings.push(...planned);
    }
  }
  const cascading = await cascadingTables(session, [...facts.keys()]);
  const followed = await followedColumns(session, [...facts.keys()]);
  const bound = bindTables(tables, facts, { cascading, followed });
  // Of tables that stand, that is: those we make have none.
  const hidden = facts.size === 0 ? null : await hiddenTriggers(session);
  const notes = hidden === null ? [] : [`${hidden.message}; ${hidden.fix}`];
  notes.push(...triggerNotes(triggers), ...sequenceNotes(tables, facts), ...unmade);
  const lacks = statements.length > 0 ? await applyRights(session) : [];
  return { lacks, statements, mappings, notes, tables: bound };
}

/** A sequence gives its next number whatever stands in the table, AUTO_INCREMENT does not. */
function sequenceNotes(
  tables: readonly TargetTable[],
  facts: ReadonlyMap<string, TableFacts>,
): string[] {
  return tables.flatMap(({ name, columns }) =>
    (facts.get(name.name)?.columns ?? [])
      .filter((column) => columns.some((each) => each.name === column.name))
      .flatMap(({ name: column, sequence }) =>
        sequence === null
          ? []
          : `${formatTable(name)}.${column} takes its default from the sequence ${sequence}, which is not moved with what is applied: SELECT SETVAL(${sequence}, …) before the target is written in place of the source`,
      ),
  );
}

const MAX_COLUMNS = 1_017;

function refuseSchema(table: TargetTable): ColumnMapping[] {
  return refuseAll(
    table,
    `the database has no schemas: name the table without one, as: ${table.name.name}`,
  );
}

function refuseAll(table: TargetTable, note: string): ColumnMapping[] {
  return table.columns.map((column) => mapping(table, column, "", { fidelity: "refused", note }));
}

/** Where the server does not take a column's name it is that column which is refused. */
function refuseNames(table: TargetTable, mappings: ColumnMapping[]): void {
  for (const [index, column] of table.columns.entries()) {
    const note = columnNameProblem(table, column);
    if (note !== null) mappings[index] = mapping(table, column, "", { fidelity: "refused", note });
  }
}

const LONGEST_NAME = 64;
/** Columns that InnoDB keeps for itself, and what of a table's name the server takes for how a file is named. */
const KEPT = /^DB_(ROW_ID|TRX_ID|ROLL_PTR)$|^#mysql50#/i;
/** Bytes that a file system gives to a name, less those of the server's ".ibd" or ".frm". */
const LONGEST_FILE = 251;
/** Letters that have a short form in the name of a file. Some others of these blocks have none: the server refuses those. */
const SHORT = /[\u00c0-\u05ff\u1e00-\u1fff\u2160-\u217f\u24b0-\u24ef\uff20-\uff5f]/;

/** What the name of a table has at least as the name of a file: @ and four digits for what is not one of its letters. */
const fileBytes = (name: string): number =>
  [...name].reduce((sum, each) => sum + (/[\w$]/.test(each) ? 1 : SHORT.test(each) ? 3 : 5), 0);

/** InnoDB takes it for the number by which it finds texts. */
const TEXT_NUMBER = "FTS_DOC_ID";

/**
 * What keeps the server from taking the names as they are, or makes it take two for one; null: nothing.
 * `others`: the tables whose names it compares without regard to case.
 */
function nameProblem(table: TargetTable, others: readonly TargetTable[]): string | null {
  const { name } = table.name;
  if (isOurs(name)) return `names that begin with ${PREFIX} are Tidemark's own: use \`as\``;
  const same = others.filter((each) => each.name.name.toLowerCase() === name.toLowerCase());
  if (same.length > 1)
    return `the server takes ${same.map((each) => each.name.name).join(" and ")} for one: use \`as\``;
  const odd = oddName(name, "as");
  if (odd !== null) return odd;
  return fileBytes(name) > LONGEST_FILE
    ? `the server keeps a table in a file of its name, in which "${name}" would have ${fileBytes(name)} bytes of at most ${LONGEST_FILE} (each beyond A-Z, a-z, 0-9 and _ takes 3 or 5): use \`as\``
    : null;
}

function oddName(name: string, otherwise: "as" | "rename"): string | null {
  if (KEPT.test(name))
    return `the server keeps the name "${name}" for itself: use \`${otherwise}\``;
  const isTaken =
    name !== "" && [...name].length <= LONGEST_NAME && !BEYOND.test(name) && !/\s$/u.test(name);
  return isTaken
    ? null
    : `the server does not take the name "${name}" (1 to ${LONGEST_NAME} characters, none beyond U+FFFF, no space at the end): use \`${otherwise}\``;
}

/** As {@link nameProblem}, of a column. */
function columnNameProblem({ columns }: TargetTable, { name }: TargetColumn): string | null {
  const twin = columns.find((each) => each.name.toLowerCase() === name.toLowerCase());
  if (twin !== undefined && twin.name !== name)
    return `the server takes ${name} for a column of the same name in other letters: use \`rename\``;
  return oddName(name, "rename");
}

function planNew(
  table: TargetTable,
  flavour: Flavour,
): { statement: string; mappings: ColumnMapping[] } {
  const roomOf = roomsOf(table, flavour);
  const lines: string[] = [];
  const mappings: ColumnMapping[] = [];
  for (const column of table.columns) {
    const chosen = chooseType(column, flavour, roomOf(column));
    const ddl = columnDdl(column, chosen, table.key.includes(column.name));
    lines.push(ddl);
    mappings.push(mapping(table, column, chosen.ddl, textNumberProblem(column, ddl) ?? chosen));
  }
  const [first] = mappings;
  if (first !== undefined && mappings.length > MAX_COLUMNS) {
    const note = `a table of InnoDB has at most ${MAX_COLUMNS} columns, this one would have ${mappings.length}: leave some out with except`;
    mappings[0] = { ...first, fidelity: "refused", note };
  }
  if (first !== undefined && table.key.length > flavour.maxKeyColumns) {
    const note = longKeyNote(flavour.product, flavour.maxKeyColumns, table.key.length);
    mappings[0] = { ...first, fidelity: "refused", note };
  }
  if (table.key.length > 0) lines.push(`PRIMARY KEY (${quoteNames(table.key)})`);
  const statement =
    `CREATE TABLE IF NOT EXISTS ${quoteTable(table.name)} (\n  ${lines.join(",\n  ")}\n) ` +
    `ENGINE = InnoDB ROW_FORMAT = DYNAMIC DEFAULT CHARACTER SET utf8mb4 COLLATE ${flavour.exactCollation}`;
  return { statement, mappings };
}

function textNumberProblem({ name }: TargetColumn, ddl: string): Fit | null {
  const mayBe = ddl === `${quoteName(TEXT_NUMBER)} bigint unsigned NOT NULL`;
  if (name.toUpperCase() !== TEXT_NUMBER || mayBe) return null;
  const note = `InnoDB keeps the name ${TEXT_NUMBER} for the BIGINT UNSIGNED NOT NULL of its full-text indexes: use \`rename\``;
  return { fidelity: "refused", note };
}

function planStanding(
  table: TargetTable,
  facts: TableFacts,
  triggers: readonly TargetTrigger[],
  flavour: Flavour,
): ColumnMapping[] {
  const problem = tableProblem(table, facts, flavour) ?? triggerProblem(triggers, table);
  return table.columns.map((column) => {
    const standing = facts.columns.find((each) => each.name === column.name);
    const inKey = table.key.includes(column.name);
    // What is wrong with the table is told at its key, so that it is told once for each.
    if ((inKey || table.key.length === 0) && problem !== null) {
      const targetType = standing === undefined ? "" : nativeTypeName(standing);
      return mapping(table, column, targetType, { fidelity: "refused", note: problem });
    }
    const twin = facts.columns.find(({ name }) => name.toLowerCase() === column.name.toLowerCase());
    if (standing === undefined && twin !== undefined) {
      const note = `it stands there as ${twin.name}, which the server takes for the same name: rename: { ${column.name}: ${twin.name} }`;
      return mapping(table, column, nativeTypeName(twin), { fidelity: "refused", note });
    }
    if (standing === undefined) {
      const chosen = chooseType(column, flavour, roomsOf(table, flavour)(column));
      const ddl = columnDdl(column, chosen, inKey);
      const note = `missing at the target: ALTER TABLE ${quoteTable(table.name)} ADD COLUMN ${ddl}`;
      return mapping(table, column, "", { fidelity: "refused", note });
    }
    return mapping(
      table,
      column,
      nativeTypeName(standing),
      assess(column, standing, { flavour, inKey, unique: uniqueOver(column.name, facts) }),
    );
  });
}

function uniqueOver(column: string, { uniques }: TableFacts): string | null {
  return uniques.find(({ partial, columns }) => !partial && columns.includes(column))?.name ?? null;
}

type Fit = Pick<ColumnMapping, "fidelity" | "note">;

function mapping(
  table: TargetTable,
  column: TargetColumn,
  targetType: string,
  fits: Fit,
): ColumnMapping {
  return {
    table: table.name,
    column: column.name,
    sourceType: column.nativeType,
    targetType,
    fidelity: fits.fidelity,
    ...(fits.note === undefined ? {} : { note: fits.note }),
  };
}

/** What makes a standing table unfit as a whole. */
function tableProblem(table: TargetTable, facts: TableFacts, flavour: Flavour): string | null {
  const name = quoteTable(table.name);
  if (facts.type === "view" || facts.type === "sequence") {
    return `${facts.name} is a ${facts.type}, not a table: rename it, or give the table another name with \`as\``;
  }
  if (facts.engine !== "InnoDB") {
    return `the engine ${facts.engine} has no transactions: ALTER TABLE ${name} ENGINE = InnoDB`;
  }
  if (table.key.length > 0 && !facts.uniques.some((index) => isKey(index, table.key))) {
    const shorter = shorterColumns(table, facts, flavour);
    const why =
      shorter.length === 0
        ? ""
        : `, and one would be longer than an index may be (${INDEX_BYTES} bytes, no whole TEXT or BLOB). A value that is longer than what these columns then hold stops the sync`;
    const actions = [...shorter, `ADD UNIQUE KEY (${quoteNames(table.key)})`].join(", ");
    return `no unique key over exactly (${table.key.join(", ")})${why}: ALTER TABLE ${name} ${actions}`;
  }
  const asked = new Set(table.columns.map((column) => column.name));
  const unfilled = facts.columns.find(
    (column) =>
      !asked.has(column.name) && !column.hasDefault && !column.generated && !column.identity,
  );
  return unfilled === undefined
    ? null
    : `column ${unfilled.name} is not written and has no default: ALTER TABLE ${name} ALTER ${quoteName(unfilled.name)} SET DEFAULT …`;
}

/** What makes room for the key in an index, as Tidemark would make the columns; empty where there is room. */
function shorterColumns(table: TargetTable, facts: TableFacts, flavour: Flavour): string[] {
  // MariaDB makes a unique key over whole texts of any length, by a hash.
  if (flavour.product === "MariaDB") return [];
  const roomOf = roomsOf(table, flavour);
  const key = table.columns.flatMap((column) => {
    const standing = facts.columns.find(({ name }) => name === column.name);
    const isKey = standing !== undefined && table.key.includes(column.name);
    return isKey ? [{ column, standing, bytes: bytesInIndex(standing) }] : [];
  });
  if (key.reduce((sum, { bytes }) => sum + bytes, 0) <= INDEX_BYTES) return [];
  return key.flatMap(({ column, standing, bytes }) => {
    const room = roomOf(column);
    if (room.key === null || bytes <= room.key) return [];
    const { ddl } = chooseType(column, flavour, room);
    const { charset, collation } = standing;
    // The server takes those of the table for what is not named.
    const text =
      charset === null || collation === null || !/^(VAR)?CHAR\(\d+\)$/i.test(ddl)
        ? ""
        : ` CHARACTER SET ${charset} COLLATE ${collation}`;
    return `MODIFY ${quoteName(column.name)} ${ddl}${text} NOT NULL`;
  });
}

/** Infinite of what no index takes whole. What is of one length is short. */
function bytesInIndex({ dataType, length, charset }: NativeColumn): number {
  if (/(text|blob|json)$/.test(dataType)) return Number.POSITIVE_INFINITY;
  return length === null ? 0 : length * (charset === null ? 1 : (CHARACTER_BYTES[charset] ?? 4));
}

const CHARACTER_BYTES: Readonly<Record<string, number>> = {
  ...{ ascii: 1, latin1: 1, latin2: 1, binary: 1, cp1252: 1, cp1251: 1, ucs2: 2 },
  ...{ utf8: 3, utf8mb3: 3, utf8mb4: 4 },
};

/** Is this index unique over exactly these columns, in any order? */
export function isKey(index: UniqueIndex, key: readonly string[]): boolean {
  return (
    !index.partial &&
    index.columns.length === key.length &&
    index.columns.every((column) => key.includes(column))
  );
}

/** Parents before children; tables in a circle of foreign keys in the order asked. */
function bindTables(
  tables: readonly TargetTable[],
  facts: ReadonlyMap<string, TableFacts>,
  actions: {
    readonly cascading: ReadonlySet<string>;
    readonly followed: ReadonlyMap<string, readonly string[]>;
  },
): BoundTable[] {
  const byName = new Map(tables.map((table) => [formatTable(table.name), table]));
  const parentsOf = new Map(
    tables.map((table) => {
      const references = facts.get(table.name.name)?.foreignKeys ?? [];
      const names = new Set(references.map(({ references }) => formatTable(references)));
      return [table, [...names].flatMap((name) => byName.get(name) ?? [])];
    }),
  );
  const order: TargetTable[] = [];
  const visited = new Set<TargetTable>();
  const visit = (table: TargetTable) => {
    if (visited.has(table)) return;
    visited.add(table);
    for (const parent of parentsOf.get(table) ?? []) visit(parent);
    order.push(table);
  };
  for (const table of tables) visit(table);
  return order.map((table) => ({
    name: table.name,
    columns: table.columns.map((column) => bindColumn(column, facts.get(table.name.name))),
    key: table.key.map((name) => table.columns.findIndex((column) => column.name === name)),
    parents: (parentsOf.get(table) ?? []).map((parent) => order.indexOf(parent)),
    cascades: actions.cascading.has(table.name.name),
    followed: (actions.followed.get(table.name.name) ?? []).some(
      (column) => !table.key.includes(column),
    ),
  }));
}

function bindColumn({ name, type, sourceKind }: TargetColumn, facts?: TableFacts): BoundColumn {
  const dataType = facts?.columns.find((standing) => standing.name === name)?.dataType ?? "";
  const numeric = hasManyTexts(type) && NUMBERS.includes(dataType);
  const column = { name, type, numeric };
  mayBeBlank(column, sourceKind);
  return column;
}

const NUMBERS: readonly string[] = ["decimal", "double", "float"];
