import { expect, test } from "vitest";
import { matcher, mayMeet } from "./patterns.ts";
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
  ["public.dot.ted", "public.*", true],
  ["dot.ted", "*", true],
  ["*", "public.dot.ted", true],
  ["other.*", "public.dot.ted", false],
  ["p*", "public.orders", false],
])("patterns %s and %s", (a, b, meet) => {
  expect(mayMeet(a, b)).toBe(meet);
  expect(mayMeet(b, a)).toBe(meet);
});

test.each([
  ["*", "public", "orders", true],
  ["*", null, "dot.ted", true],
  ["*", "public", "new\nline", true],
  ["public.*", "public", "dot.ted", true],
  ["public.*", "public_too", "orders", false],
  ["public.*", "other", "public.orders", false],
  ["public.*", null, "orders", false],
  ["p*.orders", "public", "orders", true],
  ["p*.orders", "public", "late.orders", false],
  ["order_?", "public", "order_1", true],
  ["order_?", "public", "order_10", false],
  ["orders", "public", "orders", true],
  ["dot.ted", null, "dot.ted", true],
  ["dot.ted", "public", "dot.ted", false],
  ["what?*", null, "what?*", true],
  ["a+b", null, "aab", false],
])("pattern %s, schema %s, table %s", (pattern, schema, name, fits) =>
  expect(matcher(pattern)({ schema, name })).toBe(fits),
);
