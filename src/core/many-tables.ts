import { type ErrorCode, isTidemarkError, TidemarkError } from "./errors.ts";
import { firstOf } from "./first-of.ts";
import { resyncCommand } from "./shell.ts";

/** What mends all of these tables, by their names. */
export type Mend = (tables: readonly string[]) => string;

const mends = new WeakMap<TidemarkError, { readonly table: string; readonly mend: Mend }>();

/** What is wrong with one table; {@link together} tells one fix for all that have the same `mend`. */
export function wrongTable(
  code: ErrorCode,
  table: string,
  what: { readonly message: string; readonly mend: Mend },
): TidemarkError {
  const error = new TidemarkError(code, what.message, {
    fix: what.mend([table]),
    details: { table },
  });
  mends.set(error, { table, mend: what.mend });
  return error;
}

/** The fix of what only a copy mends. */
export function copyAnew(tables: readonly string[]): string {
  return `${resyncCommand(...tables)}, then tidemark run: ${tables.length === 1 ? "it is" : "they are"} captured and copied anew.`;
}

/** What is wrong with tables, and stays so; anything else is no matter of the table that was looked at. */
const OF_TABLES: readonly ErrorCode[] = [
  "TM-CAPTURE-BROKEN",
  "TM-SCHEMA-DRIFT",
  "TM-TRUNCATE-UNSEEN",
  "TM-TABLE-NO-KEY",
  "TM-TABLE-UNSUPPORTED",
];

/** Gathers what is wrong with one table after another: a migration rebuilds dozens, and each start would name the first. */
export class Objections {
  readonly #found: TidemarkError[] = [];
  readonly #tables = new Set<string>();

  /** Null where there is an objection. */
  try<T>(look: () => T): T | null {
    try {
      return look();
    } catch (error) {
      this.#add(error);
      return null;
    }
  }

  async tryAsync<T>(look: () => Promise<T>): Promise<T | null> {
    try {
      return await look();
    } catch (error) {
      this.#add(error);
      return null;
    }
  }

  /** Throws all that was found, as one. */
  end(): void {
    const [first, ...more] = this.#found;
    if (first !== undefined) throw together(first, more);
  }

  #add(error: unknown): void {
    if (!isTidemarkError(error, ...OF_TABLES)) throw error;
    // What else is said of a table follows from the first, and the way out that it has is none.
    const table = tableOf(error);
    if (table !== "" && this.#tables.has(table)) return;
    this.#tables.add(table);
    this.#found.push(error);
  }
}

/** Has the code of the first. */
function together(first: TidemarkError, more: readonly TidemarkError[]): TidemarkError {
  if (more.length === 0) return first;
  const all = [first, ...more];
  const names = [...new Set(all.map(tableOf))];
  const fix = fixes(all).map((text, index, { length }) =>
    index < length - 1 && !/[.;]$/.test(text) ? `${text};` : text,
  );
  return new TidemarkError(first.code, messages(all).join(" "), {
    ...(fix.length === 0 ? {} : { fix: fix.join(" ") }),
    details: { ...first.details, tables: names.filter((name) => name !== "") },
  });
}

function tableOf(error: TidemarkError): string {
  return String(mends.get(error)?.table ?? error.details.table ?? "");
}

/** Those that say the same of another table are told by its name. */
function messages(all: readonly TidemarkError[]): string[] {
  const groups: { readonly error: TidemarkError; readonly likewise: string[] }[] = [];
  const byForm = new Map<string, (typeof groups)[number]>();
  for (const error of all) {
    const forms = formsOf(error);
    const known = forms.map((form) => byForm.get(form)).find((group) => group !== undefined);
    if (known !== undefined) {
      known.likewise.push(tableOf(error));
      continue;
    }
    const group = { error, likewise: [] };
    groups.push(group);
    for (const form of forms) byForm.set(form, group);
  }
  return groups.map(({ error, likewise }) => {
    if (likewise.length === 0) return error.message;
    return `${error.message} The same is true of ${firstOf(likewise, ", ")}.`;
  });
}

/** The message without the table's name, wherever that stands in it, and where it stands as a word: two that share one say the same. */
function formsOf(error: TidemarkError): readonly string[] {
  const name = tableOf(error);
  if (name === "") return [];
  // A trigger may have a hash of the table's name in its own.
  const message = error.message.replaceAll(/_[0-9a-f]{16}_/g, "_?_");
  const words = message
    .split(/\b/)
    .map((word) => (word === name ? "?" : word.replace(`_${name}_`, "_?_")));
  return [`anywhere ${message.replaceAll(name, "?")}`, `word ${words.join("")}`];
}

function fixes(all: readonly TidemarkError[]): string[] {
  const told = new Map<Mend | string, string[]>();
  for (const error of all) {
    const by = mends.get(error)?.mend ?? error.fix;
    if (by === undefined) continue;
    const tables = told.get(by) ?? [];
    told.set(by, tables);
    tables.push(tableOf(error));
  }
  return [...told].map(([by, tables]) => (typeof by === "string" ? by : by([...new Set(tables)])));
}
