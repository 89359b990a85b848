import { expect, test } from "vitest";
import { nearest } from "./suggest.ts";

test("the nearest word, or none", () => {
  expect(nearest("tabels", ["from", "to", "tables"])).toBe("tables");
  expect(nearest("whatever", ["from", "to", "tables"])).toBeNull();
});
