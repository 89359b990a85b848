import { expect, it } from "vitest";
import { firstOf } from "./first-of.ts";
import { Objections, wrongTable } from "./many-tables.ts";

const names = (count: number) => Array.from({ length: count }, (_, i) => `t${i}`);

it("names all of a few, and of many the first with the number of the others", () => {
  expect(firstOf(names(3), ", ")).toBe("t0, t1, t2");
  expect(firstOf(names(21), "; ")).toMatch(/; t20$/);
  expect(firstOf(names(22), "; ")).toMatch(/^t0; .*; t19; and 2 more$/);
  expect(firstOf(names(5_000), ", ")).toMatch(/, t19, and 4,980 more$/);
});

it("keeps an error of thousands of tables short, and its fix whole", () => {
  const objections = new Objections();
  const mend = (tables: readonly string[]) => `tidemark resync ${tables.join(" ")}`;
  for (const name of names(3_000)) {
    objections.try(() => {
      throw wrongTable("TM-CAPTURE-BROKEN", name, { message: `${name} is not captured.`, mend });
    });
  }
  const expected = {
    message: expect.stringMatching(/^t0 .*, t20, and 2,979 more\.$/),
    fix: mend(names(3_000)),
  };
  expect(() => objections.end()).toThrow(expect.objectContaining(expected));
});
