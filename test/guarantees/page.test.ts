// docs/reference/guarantees.md is what the tests and the records say: `npm run guarantees:docs` writes it.
import { expect, test } from "vitest";
import { FOUND } from "../chaos/found.ts";
import { readDetections } from "../chaos/planted.ts";
import { readRecords } from "../chaos/record.ts";
import { PLANTS } from "../chaos/simulation/plants.ts";
import { GUARANTEES } from "./guarantees.ts";
import { renderPage } from "./page.ts";
import { type Bearer, bearers, check, named } from "./tests.ts";

test("every guarantee has tests at each level that it claims, and the page names them", async () => {
  const tests = bearers();
  check(tests);
  const planted = readDetections();
  expect(
    planted.map(({ plant }) => plant),
    "npm run chaos -- --plants --record",
  ).toEqual(Object.keys(PLANTS));
  const content = { tests, planted, records: readRecords(), found: FOUND };
  const page = renderPage({ ...content, guarantees: GUARANTEES, plants: PLANTS });
  await expect(page).toMatchFileSnapshot("../../docs/reference/guarantees.md");
});

test("what one run did not have, and another had, is not said to be skipped", async () => {
  const [record] = readRecords().filter(({ level }) => level === "servers");
  if (record === undefined) throw new Error("no record of real servers");
  const skipped = ["clock jumped: did not happen in this run", "mysql: cannot be started here"];
  const lacking = { ...record, faults: {}, skipped };
  const having = { ...record, faults: { "clock jumped": 3 }, skipped: [] };
  const none = { guarantees: [], tests: [], planted: [], plants: {}, found: [] };
  const page = renderPage({ ...none, records: [lacking, having] });
  expect(page).toContain("| clock jumped | 3 |");
  expect(page).not.toContain("clock jumped: did not happen");
  expect(page).toContain("**Skipped:**\n\n- mysql: cannot be started here\n");
  expect(renderPage({ ...none, records: [lacking] })).toContain("clock jumped: did not happen");
});

test("a guarantee without a test, and a name that is none, are errors", () => {
  const tests = bearers();
  const without = tests.map((each): Bearer => {
    const rest = [...each.guarantees].filter((id) => id !== "G6" || each.level !== "contracts");
    return { ...each, guarantees: new Set(rest) };
  });
  expect(() => check(without)).toThrow('no test of the level "contracts" names G6');
  const unknown: Bearer = { file: "x.test.ts", level: "units", guarantees: new Set(["G9"]) };
  expect(() => check([...tests, unknown])).toThrow("x.test.ts names G9, which is none");
});

test("a range names all that are in it", () => {
  expect([...named("Judged at each step (G1 to G3, G7).")]).toEqual(["G1", "G2", "G3", "G7"]);
  expect([...named("no guarantee: GG1, G12, B5")]).toEqual([]);
});
