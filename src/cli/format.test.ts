import { expect, test } from "vitest";
import { formatAge, formatBytes, formatCounted, formatDuration, formatTable } from "./format.ts";
import { Rates } from "./rate.ts";

test.each([
  [0, "0 ms"],
  [999, "999 ms"],
  [999.7, "1.0 s"],
  [3_400, "3.4 s"],
  [59_960, "1 m 0 s"],
  [119_800, "2 m 0 s"],
  [310_000, "5 m 10 s"],
  [3_599_700, "1 h 0 m"],
  [7_500_000, "2 h 5 m"],
])("%d ms as people read it", (ms, text) => expect(formatDuration(ms)).toBe(text));

test.each([
  [0, "row", "0 rows"],
  [1, "row", "1 row"],
  [2_000, "row", "2,000 rows"],
  [1, "batch", "1 batch"],
  [3, "batch", "3 batches"],
])("%d %s: %s", (count, noun, text) => expect(formatCounted(count, noun)).toBe(text));

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1536, "1.5 KiB"],
  [10 * 1024 ** 3, "10.0 GiB"],
])("%d bytes as people read them", (bytes, text) => expect(formatBytes(bytes)).toBe(text));

test("an age is never negative, clocks being what they are", () => {
  const now = Date.parse("2026-01-01T00:00:00Z");
  expect(formatAge("2026-01-01T00:00:05Z", now)).toBe("0 ms ago");
  expect(formatAge(null, now)).toBe("-");
});

test("a table's columns are aligned", () => {
  expect(
    formatTable([
      ["A", "B"],
      ["long", "x"],
    ]),
  ).toBe("A     B\nlong  x");
});

test("a name ends no line of a table, and commands no terminal", () => {
  expect(formatTable([["a\nb", "\u001b[31m"], ["c\u009b\u2028"]])).toBe(
    "a\\nb           \\u001b[31m\nc\\u009b\\u2028",
  );
});

test("a rate follows the counter, and begins anew when the counter falls", () => {
  const rates = new Rates();
  expect(rates.update("c", 100, 0)).toBe(0);
  expect(rates.update("c", 200, 1000)).toBe(100);
  const slower = rates.update("c", 200, 4000);
  expect(slower).toBeLessThan(50);
  expect(rates.update("c", 0, 5000)).toBe(0);
});

test("a table's columns are aligned where letters take two columns each, or none", () => {
  const rows = [
    ["注文", "1"],
    ["Cafe\u0301", "2"],
    ["orders", "3"],
  ];
  expect(formatTable(rows)).toBe("注文    1\nCafe\u0301    2\norders  3");
});
