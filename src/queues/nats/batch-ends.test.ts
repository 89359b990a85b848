import { describe, expect, it } from "vitest";
import { BatchEnds } from "./batch-ends.ts";

describe("remembered ends of batches", () => {
  it("tell where the last known batch up to the one asked for ends", () => {
    const ends = new BatchEnds();
    expect(ends.after(5)).toBeNull();
    ends.add(3, 10);
    ends.add(3, 11);
    ends.add(5, 12);
    ends.add(7, 13);
    expect(ends.after(2)).toBeNull();
    expect(ends.after(4)).toBe(12);
    expect(ends.after(6)).toBe(13);
    expect(ends.after(6)).toBe(13);
    expect(ends.after(99)).toBe(14);
  });

  it("are forgotten when batches or numbers go back", () => {
    const ends = new BatchEnds();
    ends.add(9, 20);
    ends.add(4, 21);
    expect(ends.after(9)).toBe(22);
    ends.add(5, 3);
    expect(ends.after(5)).toBe(4);
  });

  it("are forgotten with the stream that they belong to", () => {
    const ends = new BatchEnds();
    ends.belongTo("x");
    ends.add(9, 20);
    ends.belongTo("x");
    expect(ends.after(9)).toBe(21);
    ends.belongTo("y");
    expect(ends.after(9)).toBeNull();
  });
});
