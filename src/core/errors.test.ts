import { constants } from "node:buffer";
import { expect, test } from "vitest";
import { TidemarkError, toTidemarkError } from "./errors.ts";

test("a text that is too long for the program is refused by a code of its own", () => {
  expect(
    toTidemarkError(thrownBy(() => "x".repeat(constants.MAX_STRING_LENGTH + 1))),
  ).toMatchObject({
    code: "TM-VALUE-REFUSED",
  });
  expect(toTidemarkError(new RangeError("Another one"))).toMatchObject({ code: "TM-INTERNAL" });
});

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return null;
}

test.each(["TM-APPLY-CONSTRAINT", "TM-VALUE-REFUSED"] as const)(
  "%s says how to go on, where nothing more is known",
  (code) => {
    expect(new TidemarkError(code, "refused").fix).toMatch(/start again/);
    expect(new TidemarkError(code, "refused", { fix: "this" }).fix).toBe("this");
  },
);

test.each(["TM-APPLY-GAP", "TM-MESSAGE-CORRUPT"] as const)(
  "%s says who sends again what is missing",
  (code) => {
    expect(new TidemarkError(code, "missing").fix).toMatch(/relay must be at work.*tidemark run/);
  },
);
