import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Change } from "../../core/change.ts";
import { type ChangesPage, changesOf, formatField, parseLine } from "../../core/row-lines.ts";
import { InsertLines } from "./insert-lines.ts";
import type { StoredLayout } from "./layouts.ts";
import { LogDecoder } from "./log-rows.ts";
import { formatRowText } from "./row-text.ts";

const column = (name: string, kind: "text" | "timestamptz") => ({
  name,
  type: { kind },
  nativeType: kind,
  nullable: true,
  generated: false,
});
const layout = (id: number, more: Partial<StoredLayout> = {}) =>
  ({
    id,
    table: { schema: null, name: "t" },
    columns: [column("id", "text"), column("at", "timestamptz"), column("note", "text")],
    key: [0],
    filters: [],
    readUpTo: null,
    ...more,
  }) as unknown as StoredLayout;
const LAYOUTS = [
  layout(1),
  layout(2, { filters: ["true"] }),
  layout(3, { key: [] }),
  layout(4, { readUpTo: 3 }),
];

const field = fc.option(
  fc.oneof(
    fc.string({
      unit: fc.constantFrom('"', "\\", ",", "(", ")", "\t", "\n", "\r", "\b", "é", "N", "a"),
    }),
    fc.string({ unit: "grapheme" }),
  ),
);
const at = fc.constantFrom(
  null,
  "2026-01-02 03:04:05+00",
  "2026-01-02 03:04:05.6+05:30",
  "infinity",
);
const row = fc.tuple(field, at, field);

const logged = (xid: number, kind: string, text: string | null) =>
  `${["7", String(xid), "2026-01-01 00:00:00+00", kind, text].map(formatField).join("\t")}\n`;

/** Reads blocks of the log as log-pages.ts does. */
function pagesOf(decoder: LogDecoder, blocks: readonly string[][]): ChangesPage[] {
  const inserts = new InsertLines(decoder, 9);
  const pages: ChangesPage[] = [];
  for (const lines of blocks) {
    const block = { bytes: Buffer.from(lines.join(""), "utf8"), rows: lines.length };
    const { taken, before } = inserts.take(block);
    if (before !== null) pages.push(before);
    if (!taken) pages.push(lines.map((line) => decoder.change(parseLine(line.slice(0, -1)), 9)));
  }
  const rest = inserts.finish();
  if (rest !== null) pages.push(rest);
  return pages;
}

/** So many lines that a block of them may begin a run. */
const filler = (xid: number, kind: string) =>
  Array.from({ length: 200 }, (_, i) =>
    logged(xid, kind, formatRowText([`${i}`, "2026-01-02 03:04:05+02", "x".repeat(60)])),
  );

const same = (change: Change) => ({ ...change, hops: [...change.hops] });

describe("rows of the log as lines", () => {
  const decoder = new LogDecoder(LAYOUTS);

  it("holds what the changes hold, one by one", () => {
    fc.assert(
      fc.property(
        fc.array(fc.array(row, { maxLength: 5 }), { minLength: 1, maxLength: 4 }),
        (more) => {
          const blocks = more.map((rows) => [
            ...filler(5, "1I"),
            ...rows.map((each) => logged(5, "1I", formatRowText(each))),
          ]);
          const pages = pagesOf(decoder, blocks);
          expect(pages.every((page) => "bytes" in page)).toBe(true);
          const one = blocks.flat().map((line) => decoder.change(parseLine(line.slice(0, -1)), 9));
          expect(pages.flatMap(changesOf).map(same)).toEqual(one.map(same));
        },
      ),
    );
  });

  it("keeps the order where something else comes between", () => {
    const kinds = ["1I", "1U", "2I", "3I", "4I"];
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.constantFrom(...kinds), fc.constantFrom(5, 6), fc.boolean()), {
          minLength: 1,
          maxLength: 6,
        }),
        (parts) => {
          const blocks = parts.map(([kind, xid, isMixed]) => {
            const text = (letters: string) => (kind === "2I" ? letters : "");
            const lines = filler(xid, kind).map((line) => line.replace("\t(", `\t${text("t")}(`));
            return isMixed ? [...lines, logged(xid, "1D", "(1)"), ...lines] : lines;
          });
          const one = blocks.flat().map((line) => decoder.change(parseLine(line.slice(0, -1)), 9));
          const pages = pagesOf(decoder, blocks);
          expect(pages.flatMap(changesOf).map(same)).toEqual(one.map(same));
          const lines = pages.filter((page) => "bytes" in page);
          const streamed = parts.filter(([kind, , isMixed]) => kind === "1I" && !isMixed);
          expect(lines.reduce((sum, { rows }) => sum + rows, 0)).toBe(200 * streamed.length);
        },
      ),
    );
  });

  it("leaves a block with a row that was logged without what it holds to be read one by one", () => {
    const blocks = [filler(5, "1I"), [...filler(5, "1I"), logged(5, "1I", null)], filler(5, "1I")];
    const pages = pagesOf(decoder, blocks);
    expect(pages.map((page) => ("bytes" in page ? "lines" : "changes"))).toEqual([
      ...["lines", "changes", "lines"],
    ]);
    const one = blocks.flat().map((line) => decoder.change(parseLine(line.slice(0, -1)), 9));
    expect(pages.flatMap(changesOf).map(same)).toEqual(one.map(same));
  });

  it("refuses a row that has not the columns of its layout", () => {
    const blocks = [[...filler(5, "1I"), logged(5, "1I", "(1,2)")]];
    const drift = expect.objectContaining({ code: "TM-SCHEMA-DRIFT" });
    expect(() => pagesOf(decoder, blocks)).toThrow(drift);
    expect(() => pagesOf(decoder, [[...filler(5, "1I"), logged(5, "1I", "(1,,2,3)")]])).toThrow(
      drift,
    );
  });
});
