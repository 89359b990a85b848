import { describe, expect, it } from "vitest";
import { TidemarkError, toTidemarkError } from "./errors.ts";
import { copyAnew, Objections, wrongTable } from "./many-tables.ts";

function all(...errors: readonly Error[]): TidemarkError {
  const objections = new Objections();
  for (const error of errors) {
    objections.try(() => {
      throw error;
    });
  }
  try {
    objections.end();
  } catch (error) {
    return toTidemarkError(error);
  }
  throw new Error("nothing was found");
}

const broken = (table: string, why = `trigger tidemark_${table}_insert is gone`) =>
  wrongTable("TM-CAPTURE-BROKEN", table, {
    message: `Capture of ${table} is broken: ${why}.`,
    mend: copyAnew,
  });

describe("what is wrong with several tables", () => {
  it("is told once of those of which the same is said, whatever they are called", () => {
    expect(
      all(broken("a"), broken("it"), broken("orders"), broken("b", "who knows")),
    ).toMatchObject({
      code: "TM-CAPTURE-BROKEN",
      message:
        "Capture of a is broken: trigger tidemark_a_insert is gone. The same is true of it, orders. Capture of b is broken: who knows.",
      fix: "tidemark resync a it orders b, then tidemark run: they are captured and copied anew.",
      details: { tables: ["a", "it", "orders", "b"] },
    });
  });

  it("has each fix once, and none where there is none", () => {
    const odd = (table: string, fix?: string) =>
      new TidemarkError("TM-TABLE-UNSUPPORTED", `${table} is odd.`, {
        details: { table },
        ...(fix === undefined ? {} : { fix }),
      });
    expect(all(odd("a", "Mend it."), odd("b", "Mend it."), odd("c", "DO c"), broken("d")).fix).toBe(
      "Mend it. DO c; tidemark resync d, then tidemark run: it is captured and copied anew.",
    );
    expect(all(odd("a"), odd("b")).fix).toBeUndefined();
    expect(all(odd("a", "DO a")).fix).toBe("DO a");
  });

  it("is looked at a few times each, however many they are and however differently each is wrong", () => {
    let looks = 0;
    const errors = Array.from({ length: 300 }, (_, i) => {
      const details = {
        get table() {
          looks++;
          return `table_${i}`;
        },
      };
      return new TidemarkError("TM-SCHEMA-DRIFT", `Column c${i} is gone.`, { details });
    });
    expect(all(...errors).message).toContain("Column c299 is gone.");
    expect(looks).toBeLessThan(300 * 10);
  });

  it("does not hold back what is wrong with something else, or passes by itself", () => {
    const lost = new TidemarkError("TM-CONNECTION-LOST", "gone");
    expect(() => all(broken("a"), lost)).toThrow(lost);
    expect(() => all(new RangeError("a bug"))).toThrow(RangeError);
  });
});
