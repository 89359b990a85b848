import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readWireText, type WireChange } from "./message-text.ts";

const text = fc.string({
  unit: fc.oneof(
    fc.constantFrom('"', "\\", ",", "[", "]", "\n", "é"),
    fc.string({ minLength: 1, maxLength: 1, unit: "binary" }),
  ),
});
const storage = fc.constantFrom("integer", "real", "text", "blob");
const value = fc.oneof(text, fc.constant(null), fc.constant(0), fc.tuple(storage, text));
const row = fc.option(fc.array(value, { maxLength: 4 }));
const letters = fc.constantFrom("", "t", "ft");
const change = fc.tuple(
  fc.nat(),
  fc.constantFrom("i", "u", "d", "t"),
  fc.nat(),
  row,
  row,
  row,
  letters,
);
const piece = fc.record({
  v: fc.constant(1),
  source: text,
  copy: fc.option(fc.record({ cursor: text })),
  transactions: fc.array(fc.tuple(text, fc.option(text), fc.array(text))),
  changes: fc.array(change),
});

const asWritten =
  () =>
  (...wire: WireChange) =>
    wire;

describe("the reader of pieces", () => {
  it("reads what JSON.parse reads", () => {
    fc.assert(
      fc.property(piece, (each) => {
        const { changes, ...head } = each;
        expect(readWireText(JSON.stringify(each), asWritten)).toEqual(
          JSON.parse(JSON.stringify({ head, changes })),
        );
      }),
    );
  });

  it("leaves to JSON.parse what is written otherwise", () => {
    for (const other of [
      '{"v":1,"changes":[] }',
      '{"v":1,"changes":[],"later":1}',
      '{"v":1,"changes":[[1, "i",0,null,null,null,""]]}',
      '{"v":1,"changes":[[1,"i",0,null,["a],null,""]]}',
      '{"v":1,"changes":[[1,"i",0,null,["\\u00',
      '{"v":1,"changes":[[1,"i",0,null,["\\',
      '{"changes":[]}',
      '{"v":1,"changes":',
      '{"v":1,"copy":{"a":1,"changes":[]}}',
      "",
    ]) {
      expect(readWireText(other, asWritten)).toBeNull();
    }
  });
});
