// What of a table triggers cannot tell, so that its capture is refused before the start.
import { keyColumns } from "../../core/change.ts";
import { isTidemarkError, TidemarkError } from "../../core/errors.ts";
import { newKeyColumn } from "../../core/new-key.ts";
import type { CaptureTable } from "../../core/source.ts";
import { formatTable } from "../../core/table.ts";
import { filterCheck } from "./capture-sql.ts";
import type { Session } from "./connection.ts";
import { assertTransactions } from "./engines.ts";
import { errorNumber } from "./errors.ts";
import type { Flavour } from "./flavour.ts";
import { quoteName } from "./identifiers.ts";
import type { StoredLayout } from "./layouts.ts";
import { loadPin } from "./pins.ts";
import { refuseSessionWords } from "./session-words.ts";
import type { TableFacts } from "./table-facts.ts";

export function checkCapturable(
  table: CaptureTable,
  facts: ReadonlyMap<string, TableFacts>,
  flavour: Flavour,
): TableFacts {
  const name = formatTable(table.schema.name);
  const fact = table.schema.name.schema === null ? facts.get(table.schema.name.name) : undefined;
  if (fact === undefined) {
    throw new TidemarkError("TM-TABLE-MISSING", `There is no table ${name}.`, {
      details: { table: name },
    });
  }
  assertTransactions(fact, flavour);
  return fact;
}

/**
 * `FOR PORTION OF` splits a row (MariaDB's manual, "Application-Time Periods"). The parts are inserted, and their
 * triggers run, before that of the row itself, whose old key one of them may have by then: in the log it would
 * go after it has come.
 */
export async function refusePeriod(session: Session, layout: StoredLayout): Promise<void> {
  const key = keyColumns(layout).map((index) => layout.columns[index]);
  const temporal = key.filter((column) => column !== undefined && TEMPORAL.has(column.type.kind));
  if (temporal.length === 0 || session.flavour.product !== "MariaDB") return;
  const made = await loadPin(session, layout.table.name);
  const found =
    /^\s*PERIOD FOR `((?:[^`]|``)+)` \(`((?:[^`]|``)+)`, *`((?:[^`]|``)+)`\)/m.exec(made) ?? [];
  const [period, ...ends] = found.slice(1).map((name) => name.replaceAll("``", "`"));
  const column = temporal.find((each) => each !== undefined && ends.includes(each.name));
  if (column === undefined) return;
  const name = formatTable(layout.table);
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `The key of ${name} holds ${column.name} of its period ${period}: what UPDATE and DELETE ... FOR PORTION OF make of a row is told to triggers in an order that loses rows.`,
    {
      fix: `give the table a primary key without the period's columns (${ADD_KEY(layout)}, after the key that stands is dropped or made a UNIQUE one), or leave it out of the sync`,
      details: { table: name, column: column.name },
    },
  );
}

const TEMPORAL: ReadonlySet<string> = new Set(["date", "timestamp", "timestamptz"]);

const ADD_KEY = ({ table, columns }: Pick<StoredLayout, "table" | "columns">) =>
  `ALTER TABLE ${quoteName(table.name)} ADD COLUMN ${quoteName(newKeyColumn(columns))} BIGINT AUTO_INCREMENT PRIMARY KEY`;

/**
 * MySQL 9.6 and later carry foreign keys out above the engine, and not as they are declared (seen with 9.7): REPLACE and a
 * deletion over several levels leave children without a parent, DELETE IGNORE and UPDATE IGNORE take or change those of a
 * row that stays. Our triggers would log what is declared.
 */
export async function refuseKeysAboveEngine(
  session: Session,
  { table, origins }: StoredLayout,
): Promise<void> {
  const { engineKeys, version } = session.flavour;
  if (engineKeys === null || origins.length === 0) return;
  if (!["0", "OFF"].includes((await session.value(`SELECT @@GLOBAL.${engineKeys}`)) ?? "")) return;
  const name = formatTable(table);
  const parents = [...new Set(origins.map((origin) => origin.table))];
  throw new TidemarkError(
    "TM-TABLE-UNSUPPORTED",
    `Rows of ${name} are changed by foreign keys (from ${parents.join(", ")}), and MySQL ${version} carries these out otherwise than they are declared (${engineKeys} is OFF): what becomes of the rows cannot be told.`,
    {
      fix: `Start the server with ${engineKeys}=ON; or declare these foreign keys ON DELETE RESTRICT ON UPDATE RESTRICT; or leave the table out of the sync.`,
      details: { table: name },
    },
  );
}

/** The trigger fires for rows that stay as they were, too (see isCarriedOut), and only a key finds such a row again to look. */
export function refuseDoubtful({ table, columns, key, guarded, stamped }: StoredLayout): void {
  if (key.length > 0) return;
  const name = formatTable(table);
  if (stamped.length > 0) {
    throw new TidemarkError(
      "TM-TABLE-NO-KEY",
      `Table ${name} has no primary key and no unique key of not-null columns, but a column with ON UPDATE CURRENT_TIMESTAMP (${stamped.join(", ")}): an update that leaves a row as it is could not be told from one that changes it.`,
      {
        fix: `${ADD_KEY({ table, columns })}; or leave the column out with except`,
        details: { table: name, columns: stamped },
      },
    );
  }
  if (guarded.length === 0) return;
  // Which columns one over an expression or a beginning means nobody has told.
  const over =
    guarded.length < columns.length
      ? `over ${guarded.join(", ")}`
      : "over all its columns, an expression or the beginning of a text";
  throw new TidemarkError(
    "TM-TABLE-NO-KEY",
    `Table ${name} has no primary key and no unique key of not-null columns, but a unique or foreign key ${over}: what UPDATE IGNORE passes over could not be told from what it changes.`,
    {
      fix: `${ADD_KEY({ table, columns })}; or give it a unique key over whole columns that are NOT NULL`,
      details: { table: name, columns: guarded },
    },
  );
}

export async function checkFilters(
  session: Session,
  layout: StoredLayout,
  facts: TableFacts,
): Promise<void> {
  if (layout.filters.length === 0) return;
  const table = formatTable(layout.table);
  const check = filterCheck(layout);
  try {
    // What ends the statement and begins another would be run.
    if (check.includes(";")) await session.prepare(check);
    await session.rows(check, [], { table });
  } catch (error) {
    const number = errorNumber(error);
    // What passes by itself is no fault of the filter: a table that is being altered, a server that goes down.
    if (number === undefined || (isTidemarkError(error) && error.retryable)) throw error;
    throw new TidemarkError(
      "TM-CONFIG-INVALID",
      `The server does not take a row filter of ${table} (server error ${number}).`,
      {
        fix: `try it: SELECT * FROM ${quoteName(layout.table.name)} WHERE (…) LIMIT 1; it may use only captured columns, by their plain names`,
        details: { table, errno: number },
      },
    );
  }
  await refuseSessionWords(session, layout, facts);
}
