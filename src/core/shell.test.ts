// Commands that a fix names can be pasted, whatever a table or sync is named.
import { expect, test } from "vitest";
import { resyncCommand, shellWord } from "./shell.ts";

test.each([
  ["public.orders", "public.orders"],
  ["--sync", "--sync"],
  ["shop->reports", "'shop->reports'"],
  ["*", "'*'"],
  ["my orders", "'my orders'"],
  ["$HOME", "'$HOME'"],
  ["it's", "'it'\\''s'"],
  ["", "''"],
])("%j stands as %s", (text, word) => {
  expect(shellWord(text)).toBe(word);
});

test("a resync names each table as one word", () => {
  expect(resyncCommand({ schema: "public", name: "my orders" }, "items")).toBe(
    "tidemark resync 'public.my orders' items",
  );
});
