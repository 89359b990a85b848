import fc from "fast-check";
import { expect, test } from "vitest";
import { inPieces } from "./long-text.ts";

const ESCAPED = /\\(.)/gs;

test("a long text is worked on as a short one is, wherever it is cut", () => {
  const part = fc.constantFrom("\\\\", "\\n", "a", "\\\\\\\\", "é");
  fc.assert(
    fc.property(fc.array(part, { minLength: 1, maxLength: 5 }), fc.nat(3), (parts, shift) => {
      const text = "x".repeat(shift) + parts.join("").repeat(40_000);
      const work = (piece: string) => piece.replace(ESCAPED, "$1");
      expect(inPieces(text, "\\", work) === work(text)).toBe(true);
    }),
    { numRuns: 20 },
  );
});

test("a run longer than a piece keeps its pairs", () => {
  const work = (piece: string) => piece.replaceAll('""', '"');
  const text = `x${'"'.repeat(100_000)}`;
  expect(inPieces(text, '"', work)).toBe(work(text));
});
