import { once } from "node:events";
import type { Writable } from "node:stream";
import { formatField } from "../../core/row-lines.ts";
import type { BoundTable } from "../../core/target.ts";
import type { Row } from "../../core/value.ts";
import { toNative } from "./types.ts";

const COPY_CHUNK_CHARACTERS = 64_000;

/** Rows into a COPY, in the order of the table's columns. */
export async function writeRows(
  stream: Writable,
  table: BoundTable,
  rows: readonly Row[],
): Promise<void> {
  let text = "";
  for (const row of rows) {
    text += copyLine(table, row);
    if (text.length < COPY_CHUNK_CHARACTERS) continue;
    if (!stream.write(text)) await once(stream, "drain");
    text = "";
  }
  if (text !== "") stream.write(text);
}

/** A row in COPY's text format, newline included. */
function copyLine(table: BoundTable, row: Row): string {
  let line = "";
  for (let i = 0; i < table.columns.length; i++) {
    const type = table.columns[i]?.type;
    if (i > 0) line += "\t";
    line += formatField(type ? toNative(row[i] ?? null, type) : null);
  }
  return `${line}\n`;
}
