import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatArrayText, formatRowText, parseRowText } from "./row-text.ts";

const field = fc.option(
  fc.oneof(
    fc.string({ unit: "grapheme" }),
    fc.string({ unit: fc.constantFrom("a", '"', "\\", ",", "(", ")", " ", "\n", "\t", "N") }),
  ),
  { nil: null },
);
// A single null field and an empty row are both `()`; a table has at least one column.
const row = fc.array(field, { minLength: 1, maxLength: 8 });

describe("row text", () => {
  it.each([
    ["(1,a)", ["1", "a"]],
    ["(,)", [null, null]],
    ["()", [null]],
    ['("")', [""]],
    ['(1,"")', ["1", ""]],
    ['("",)', ["", null]],
    ['(,"a,b",)', [null, "a,b", null]],
    ['("a ""b""","\\\\x00ff")', ['a "b"', "\\x00ff"]],
    ['("{""[1,2)"",""x\\\\\\\\y""}")', ['{"[1,2)","x\\\\y"}']],
  ])("parses %s", (text, fields) => {
    expect(parseRowText(text)).toEqual(fields);
  });

  it("parses what it prints", () => {
    fc.assert(
      fc.property(row, (fields) => {
        expect(parseRowText(formatRowText(fields))).toEqual(fields);
      }),
    );
  });
});

describe("array text", () => {
  it("quotes all but plain numbers, and tells null from a text", () => {
    expect(formatArrayText(["1", "-2.5", "NULL", null, "", 'a"\\', "{,}"])).toBe(
      '{1,-2.5,"NULL",NULL,"","a\\"\\\\","{,}"}',
    );
  });
});
