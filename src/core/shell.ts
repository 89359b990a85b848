import { formatTable, type TableName } from "./table.ts";

/** An argument as it must stand in a line for a shell: `shop->reports` would write a file named `reports`. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** The line that copies these tables anew, to be pasted into a shell. */
export function resyncCommand(...tables: readonly (TableName | string)[]): string {
  const names = tables.map((table) => (typeof table === "string" ? table : formatTable(table)));
  return ["tidemark resync", ...names.map(shellWord)].join(" ");
}
