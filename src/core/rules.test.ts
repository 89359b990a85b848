// Which configs say the same of a sync, for who waits (G4).
import { expect, it } from "vitest";
import { rulesPrint } from "./rules.ts";

const TABLES = [{ table: "*" }, { table: "x", as: "z" }];

it("tells what a sync leaves out of its globs from what it takes, in any order", () => {
  const all = rulesPrint({ tables: TABLES });
  expect(rulesPrint({ tables: TABLES.toReversed(), except: [] })).toBe(all);
  const left = rulesPrint({ tables: TABLES, except: ["y", "a_*"] });
  expect(left).not.toBe(all);
  expect(rulesPrint({ tables: TABLES, except: ["a_*", "y"] })).toBe(left);
  expect(rulesPrint({ tables: TABLES, except: ["y"] })).not.toBe(left);
});
