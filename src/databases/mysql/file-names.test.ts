import { describe, expect, it } from "vitest";
import { likeness, likenessOfFile } from "./file-names.ts";

describe("names of files", () => {
  it.each([
    ["a-b Größe", "a@002db@0020Gr@1i@1je"],
    ["日本", "@65e5@672c"],
    ["é#P#x", "@0p@0023P@0023x"],
    ["Zq_1", "Zq_1"],
  ])("of %s is like it", (name, file) => {
    expect(likenessOfFile(file)).toBe(likeness(name));
  });

  it("differ where more than a short-coded letter does", () => {
    expect(likeness("a-b")).not.toBe(likeness("a_b"));
    expect(likeness("größe")).toBe(likeness("gräße"));
  });
});
