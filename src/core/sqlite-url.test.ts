import { expect, test } from "vitest";
import { joinSqliteUrl, splitSqliteUrl } from "./sqlite-url.ts";

test.each([
  ["sqlite:./shop.db", "./shop.db", ""],
  ["sqlite:shop.db", "shop.db", ""],
  ["sqlite:/var/shop.db", "/var/shop.db", ""],
  ["sqlite:///var/shop.db", "/var/shop.db", ""],
  ["SQLite:shop.db", "shop.db", ""],
  ["sqlite:./shop.db?mode=ro", "./shop.db", "mode=ro"],
  ["sqlite:./shop.db?mode=ro&cache=shared", "./shop.db", "mode=ro&cache=shared"],
])("%s", (url, file, parameters) => {
  expect(splitSqliteUrl(url)).toEqual({ file, parameters });
});

test.each([
  "/a b/a%20b/100%/shop.db",
  "/ha#sh/shop#1.db",
  "/what?/shop.db",
  "/what?mode=ro/shop.db",
  "/größe 漢/two\nlines/shop.db",
  "/var/what?.db",
  "/var/shop.db?",
])("a path is taken as it is written: %j", (file) => {
  for (const parameters of ["", "mode=rw"]) {
    const parts = { file, parameters };
    expect(splitSqliteUrl(joinSqliteUrl(parts))).toEqual(parts);
  }
});

test("only the last ? begins parameters", () => {
  const parts = { file: "a?b=c.db", parameters: "mode=rwc" };
  expect(splitSqliteUrl("sqlite:a?b=c.db?mode=rwc")).toEqual(parts);
});

test.each([
  "sqlite:",
  "sqlite::memory:",
  "sqlite::memory:?cache=shared",
  "sqlite:?mode=ro",
  "sqlite:folder/",
  "sqlite:folder/?mode=ro",
  "sqlite:folder/..",
  "sqlite:.",
  "postgres://host/shop",
])("no file: %s", (url) => {
  expect(splitSqliteUrl(url)).toBeNull();
});
