// How far a copy is, as it is read on terminals of any width (G8).
import { expect, test } from "vitest";
import { type Copy, copyLine } from "./copy-line.ts";

const COPY: Copy = {
  sync: "shop->reports",
  table: "public.orders_of_the_year",
  rows: 1_204_000,
  estimatedRows: 2_408_000,
  perSecond: 10_000,
};
const FIGURES = "50%  1,204,000 of ~2,408,000 rows  10,000 rows/s  2 m 0 s left";

test("has a bar where there is room", () => {
  expect(copyLine(COPY, 140)).toBe(
    `${"█".repeat(12)}${"░".repeat(12)}  shop->reports  public.orders_of_the_year   ${FIGURES}`,
  );
});

test.each([120, 100, 80, 78])("tells every figure in %d columns", (columns) => {
  const line = copyLine(COPY, columns);
  expect(line.length).toBeLessThanOrEqual(columns);
  expect(line).toMatch(/the_year {2,}50%/);
  expect(line).toContain(FIGURES);
});

test("tells what it can where it knows no total, or the estimate was too low", () => {
  const unknown = copyLine({ ...COPY, estimatedRows: null }, 80);
  expect(unknown).toContain("  1,204,000 rows  10,000 rows/s");
  expect(unknown).not.toMatch(/█|%|left|\s$/);
  expect(copyLine({ ...COPY, estimatedRows: 10 }, 80)).toContain(
    "100%  1,204,000 of ~1,204,000 rows  10,000 rows/s  0 ms left",
  );
});

test("tells every figure where letters take two columns each, and is one line whatever a name holds", () => {
  const line = copyLine({ ...COPY, table: "公開.今年の注文を記録する表👍" }, 90);
  expect(line).toMatch(/^….*表👍 {3}50%/u);
  expect(line).toContain(FIGURES);
  expect([...line].length + (line.match(/[^ -~…█░]/gu)?.length ?? 0)).toBeLessThanOrEqual(90);
  expect(copyLine({ ...COPY, table: "a\nb\u001b[2J" }, 140)).toContain("a\\nb\\u001b[2J");
});
