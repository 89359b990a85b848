import { describe, expect, it } from "vitest";
import { countOvertaken, parseSnapshot } from "./snapshot.ts";

describe("overtaken transactions", () => {
  const before = parseSnapshot("90:100:90,95");

  it("are those in progress that had not begun in the snapshot before", () => {
    expect(countOvertaken(parseSnapshot("90:120:90,95,100,119"), before)).toBe(2);
  });

  it("are none where all that began has ended", () => {
    expect(countOvertaken(parseSnapshot("90:120:90"), before)).toBe(0);
    expect(countOvertaken(parseSnapshot("120:120:"), before)).toBe(0);
  });
});
