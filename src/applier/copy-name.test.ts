import { describe, expect, it } from "vitest";
import { copiedAs, goneInto, isSameCopy, nameCopy } from "./copy-name.ts";

describe("the name of a copy", () => {
  it("tells what was copied, and where to", () => {
    const copied = { fingerprint: "f1", target: 'odd:"name".t' };
    expect(copiedAs(nameCopy(copied))).toEqual(copied);
    expect(nameCopy(copied)).not.toBe(nameCopy(copied));
    expect(copiedAs("id:f1")).toEqual({ fingerprint: "f1", target: null });
  });

  it("is the same when an earlier version has not told where to", () => {
    expect(isSameCopy("id:f1", "id:f1:t")).toBe(true);
    expect(isSameCopy("id:f1:t", "id:f1:t")).toBe(true);
    expect(isSameCopy("id:f1:t", "id:f1:tt")).toBe(false);
    expect(isSameCopy("id:f", "id:f1:t")).toBe(false);
    expect(isSameCopy(undefined, "id:f1:t")).toBe(false);
  });

  it("finds those that have gone into a table, by its source's name where it tells none", () => {
    const copies = [
      { table: "one", copy: "a:f:public.t" },
      { table: "public.t", copy: "b:f:public.other" },
      { table: "shop.t", copy: "c:f" },
      { table: "t", copy: "d:f" },
      { table: "tt", copy: "e:f" },
    ];
    const found = goneInto(copies, [{ schema: "public", name: "t" }]);
    expect(found.map(({ copy }) => copy)).toEqual(["a:f:public.t", "c:f", "d:f"]);
  });
});
