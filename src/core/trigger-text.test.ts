import { describe, expect, it } from "vitest";
import type { TargetTable } from "./target.ts";
import { plainlyWrites } from "./trigger-text.ts";

function table(name: string, columns: readonly string[], schema: string | null = null) {
  return {
    name: { schema, name },
    key: ["id"],
    columns: columns.map((column) => ({
      name: column,
      type: { kind: "text" } as const,
      nativeType: "text",
      sourceKind: "sqlite",
      nullable: true,
    })),
  } satisfies TargetTable;
}

const LINES = table("lines", ["id", "qty", "at"], "public");
const ORDERS = table("Orders", ["id", "total"], "public");
const writes = (body: string) => plainlyWrites(body, LINES, [LINES, ORDERS]);

describe("what a trigger plainly writes", () => {
  it.each([
    ["UPDATE orders SET total = total + NEW.qty WHERE id = 1", "public.Orders"],
    ['UPDATE ONLY public."Orders" SET total = 0', "public.Orders"],
    ["INSERT OR REPLACE INTO `Orders` (id) VALUES (NEW.id)", "public.Orders"],
    ["delete from [Orders] where id = OLD.id", "public.Orders"],
    ["MERGE INTO orders o USING x ON x.id = o.id", "public.Orders"],
    ["UPDATE orders o SET note = 'x', total = 1 WHERE o.id = 1", "public.Orders"],
    ["UPDATE orders SET (note, total) = (1, 2)", "public.Orders"],
    ["BEGIN NEW.at := now(); RETURN NEW; END", "its column at"],
    ["BEGIN NEW.at = now(); RETURN NEW; END", "its column at"],
    ["BEGIN SET NEW.other = 1, NEW.qty = 0; END", "its column qty"],
  ])("%s", (body, found) => {
    expect(writes(body)).toBe(found);
  });

  it.each([
    "INSERT INTO audit SELECT * FROM orders",
    "IF NEW.qty = 0 THEN RAISE EXCEPTION 'UPDATE orders first'; END IF; RETURN NEW;",
    "-- UPDATE orders\n/* DELETE FROM orders */ SELECT 1 FROM orders FOR UPDATE;",
    "INSERT INTO audit (n) VALUES (1) ON DUPLICATE KEY UPDATE orders = 1",
    "UPDATE lines SET search = lower(NEW.id) WHERE id = NEW.id",
    "NEW.search := to_tsvector(NEW.qty)",
    "IF OLD.qty < 1 AND NEW.at = OLD.at THEN RETURN NULL; END IF",
  ])("nothing: %s", (body) => {
    expect(writes(body)).toBeNull();
  });
});
