import { expect, test } from "vitest";
import { missingTableFix, nearest, nearestTable } from "./suggest.ts";

test("the nearest word, or none", () => {
  expect(nearest("tabels", ["from", "to", "tables"])).toBe("tables");
  expect(nearest("whatever", ["from", "to", "tables"])).toBeNull();
});

const POSTGRES = ["app.orders", "public.Customers", "public.a.b", 'public.q"x'].map((text) => {
  const dot = text.indexOf(".");
  return { schema: text.slice(0, dot), name: text.slice(dot + 1) };
});
const MYSQL = ["orders", "Customers", "a.b"].map((name) => ({ schema: null, name }));

test.each([
  ["public", "orders", "app.orders"],
  ["App", "Orders", "app.orders"],
  ["app", "ordesr", "app.orders"],
  ["app", "customers", "public.Customers"],
  ["a", "b", "public.a.b"],
  ['"app"', '"orders"', "app.orders"],
  ['"public', 'a"."b"', "public.a.b"],
  ["public", "app", "app.*"],
  ["public", "warehouse", null],
])("the table meant by %s.%s where tables have schemas: %s", (schema, name, meant) => {
  expect(nearestTable({ schema, name }, POSTGRES)).toBe(meant);
});

test.each([
  ["public.orders", "orders"],
  ["shop.a.b", "a.b"],
  ["CUSTOMERS", "Customers"],
  ["`orders`", "orders"],
  ["oders", "orders"],
  ["warehouse", null],
])("the table meant by %s where they have none: %s", (name, meant) => {
  expect(nearestTable({ schema: null, name }, MYSQL)).toBe(meant);
});

test("where none is near, those that are there are told", () => {
  expect(missingTableFix(null, MYSQL)).toBe("Its tables: orders, Customers, a.b.");
  expect(missingTableFix(null, [])).toBe("It has no tables yet: create them first.");
});
