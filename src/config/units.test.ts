import { expect, test } from "vitest";
import { mayMeet } from "./patterns.ts";
import { nearest } from "./suggest.ts";
import { parseDuration, parseSize } from "./units.ts";

test.each([
  ["1000", 1000],
  ["1GB", 1e9],
  ["1.5 gib", 1.5 * 1024 ** 3],
  ["0", null],
  ["-1MB", null],
  ["ten", null],
  ["5m", null],
])("size %s", (text, bytes) => expect(parseSize(text)).toBe(bytes));

test.each([
  ["500ms", 500],
  ["30s", 30_000],
  ["5m", 300_000],
  ["1.5h", 5_400_000],
  ["30", null],
  ["0s", null],
  ["", null],
])("duration %s", (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each([
  ["public.orders", "public.*", true],
  ["orders", "public.orders", true],
  ["sales.orders", "public.orders", false],
  ["a*c", "*b*", true],
  ["a?", "abc", false],
  ["*", "public.anything", true],
  ["order_*", "*_items", true],
  ["x*", "y*", false],
])("patterns %s and %s", (a, b, meet) => {
  expect(mayMeet(a, b)).toBe(meet);
  expect(mayMeet(b, a)).toBe(meet);
});

test("the nearest word, or none", () => {
  expect(nearest("tabels", ["from", "to", "tables"])).toBe("tables");
  expect(nearest("whatever", ["from", "to", "tables"])).toBeNull();
});
