import { describe, expect, it } from "vitest";
import { copiedAs, goneInto, isReplaced, isSameCopy, nameCopy, withMark } from "./copy-name.ts";

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

  it("is the same when the mark of its table is told later, or is another", () => {
    const marked = withMark("id:f1:t:u", "7/8");
    expect(copiedAs(marked)).toEqual({ fingerprint: "f1", target: "t:u", mark: "7/8" });
    expect(copiedAs(withMark(marked, "7/9")).mark).toBe("7/9");
    expect(isSameCopy("id:f1", marked)).toBe(true);
    expect(isSameCopy(marked, withMark(marked, "7/9"))).toBe(true);
    expect(isSameCopy(marked, withMark("di:f1:t:u", "7/8"))).toBe(false);
    const copied = { fingerprint: "f1", target: "t", mark: "7/8" };
    expect(copiedAs(nameCopy(copied))).toEqual(copied);
  });

  it("tells a table that was replaced from one that was moved with what is kept of it", () => {
    expect(isReplaced("7/8", "7/9")).toBe(true);
    expect(isReplaced("7/8", "7/8")).toBe(false);
    expect(isReplaced("7/8", "6/9")).toBe(false);
    expect(isReplaced(undefined, "7/9")).toBe(false);
    expect(isReplaced("7/8", undefined)).toBe(false);
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
