// Tables that the globs of a sync leave out: what that means for two syncs beside or behind each other (G8).
import { describe, expect, test } from "vitest";
import { loadConfigText } from "./load-config.ts";
import { covers } from "./patterns.ts";
import type { SyncConfig } from "./schema.ts";

function load(...syncs: SyncConfig[]) {
  const databases = { shop: "sqlite:shop.db", copy: "sqlite:copy.db" };
  return loadConfigText("/etc/tidemark.yaml", JSON.stringify({ databases, syncs }), {});
}
const there = { from: "shop", to: "copy" };
const back = { from: "copy", to: "shop" };

test("each sync of a list of targets has it", () => {
  const { syncs } = load({ ...there, to: ["copy"], tables: ["*"], except: ["audit"] });
  expect(syncs).toMatchObject([{ tables: [{ table: "*" }], except: ["audit"] }]);
});

describe("two syncs into one target", () => {
  test.each([
    ["the very table", ["audit"], "audit"],
    ["a glob that the table matches", ["audit*"], "audit_1"],
    ["the very glob", ["audit_?"], "audit_?"],
    ["a glob that matches all that the other can", ["a*"], "audit_?"],
  ])("one may write what the other leaves out: %s", (_what, except, table) => {
    const first = { ...there, name: "most", tables: ["*"], except };
    expect(load(first, { ...there, name: "rest", tables: [table] }).syncs).toHaveLength(2);
  });

  test.each([
    ["another table", ["audit"], "audits"],
    ["part of a glob", ["audit_1*"], "audit_*"],
    ["a question mark for a star", ["audit_?"], "audit_*"],
  ])("and nothing else: %s", (_what, except, table) => {
    const first = { ...there, name: "most", tables: ["*"], except };
    const both = () => load(first, { ...there, name: "rest", tables: [table] });
    expect(both).toThrow(expect.objectContaining({ code: "TM-CONFIG-OVERLAP" }));
  });

  test("what is left out is known by the name at the target", () => {
    const first = { ...there, name: "most", tables: ["*"], except: ["audit"] };
    const renamed = (as: string) => ({ ...there, name: "rest", tables: [{ table: "x", as }] });
    expect(load(first, renamed("audit")).syncs).toHaveLength(2);
    expect(() => load(first, renamed("orders"))).toThrow(/two writers/);
  });
});

test("two databases may each send the other what it leaves out itself", () => {
  const orders = { ...back, tables: ["orders"] };
  expect(load({ ...there, tables: ["*"], except: ["orders"] }, orders).syncs).toHaveLength(2);
  expect(() => load({ ...there, tables: ["*"], except: ["order"] }, orders)).toThrow(/in a circle/);
});

test.each([
  [
    "what is asked for in full",
    ["*", "audit"],
    ["audit"],
    /names the table audit in `tables` and in `except`/,
  ],
  ["what no glob could bring", ["audit"], ["orders"], /no glob from which/],
])("except of %s is refused", (_what, tables, except, message) => {
  expect(() => load({ ...there, tables, except })).toThrow(message);
});

test("a table named in full stands, where a glob leaves it out", () => {
  expect(load({ ...there, tables: ["*", "audit_main"], except: ["audit_*"] }).syncs).toHaveLength(
    1,
  );
});

test.each([
  ["public.*", "public.a", true],
  ["public.*", "other.a", false],
  ["a*", "public.abc*", true],
  ["public.a*", "a*", false],
  ["public.*", "*", false],
  ["*", "public.*", true],
  ["pub*.a", "public.a", true],
])("%s covers %s: %s", (whole, part, does) => {
  expect(covers(whole, part)).toBe(does);
});
