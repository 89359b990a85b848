// A pair of databases from the command line.
import { expect, test } from "vitest";
import { definePair, type Pair } from "./define-pair.ts";

test("URLs, also from the environment", () => {
  const pair = { from: "env:SHOP", to: "sqlite:./b.db", tables: ["public.*"] };
  const definition = definePair(pair, "/work/here", { SHOP: "postgres://u:p@h/d" });
  expect(definition).toMatchObject({
    databases: [
      { name: "source", url: "postgres://u:p@h/d" },
      { name: "target", url: "sqlite:/work/here/b.db" },
    ],
    syncs: [{ name: "source->target", tables: [{ table: "public.*" }] }],
  });
});

test("a queue of its own, but where one is named: the same for the same databases, tables and passwords apart", () => {
  const queueOf = (changes: Partial<Pair> = {}, password = "p") => {
    const pair = { from: "env:SHOP", to: "sqlite:b.db", tables: ["t"], ...changes };
    return definePair(pair, "/work/here", { SHOP: `postgres://u:${password}@h/d` }).queue.url;
  };
  const own = queueOf();
  expect(own).toMatch(/^sqlite:\/work\/here\/\.tidemark\/[0-9a-f]{8}\/queue\.db$/);
  expect(queueOf({ to: "sqlite:./b.db", tables: ["u"] }, "other")).toBe(own);
  expect(queueOf({ to: "sqlite:c.db" })).not.toBe(own);
  expect(queueOf({ from: "postgres://u:p@h/e" })).not.toBe(own);
  expect(queueOf({ queue: "sqlite:./q.db" })).toBe("sqlite:/work/here/q.db");
});

test("no table, or no such variable", () => {
  const pair = { from: "env:SHOP", to: "sqlite:b.db", tables: ["t"] };
  expect(() => definePair(pair, "/", {})).toThrow(
    expect.objectContaining({ code: "TM-CONFIG-ENV-MISSING" }),
  );
  expect(() => definePair({ ...pair, tables: [] }, "/", {})).toThrow(
    expect.objectContaining({ code: "TM-USAGE" }),
  );
});
