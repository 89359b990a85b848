import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Results } from "../results.ts";
import { type Measurement, readMeasurements } from "./measurement.ts";
import { makePage } from "./page.ts";

const FOLDER = join(import.meta.dirname, "../../docs/benchmarks");

test("the page and its figures are what their files give", async () => {
  const data = join(FOLDER, "data");
  const files = readdirSync(data).map((name) => join(data, name));
  const { markdown, charts } = await makePage(readMeasurements(files));
  expect(readFileSync(join(FOLDER, "results.md"), "utf8")).toBe(markdown);
  const drawn = readdirSync(FOLDER).filter((name) => name.endsWith(".svg"));
  expect(drawn.sort()).toEqual([...charts.keys()].sort());
});

test("a figure measured twice is that of the later file, with its command", async () => {
  const page = await makePage([measured("2026-01-01", 100), measured("2026-01-02", 300)]);
  expect(page.markdown).toContain(
    "| rate, changes/s | native | 3.0 (3.0 - 3.0) | 1.0 (1.0 - 1.0) | 1 |",
  );
  expect(page.markdown).toContain("npm run bench -- 2026-01-02");
  expect(page.markdown).not.toContain("npm run bench -- 2026-01-01");
});

test("what is wrong and what is missing stands on the page, and a figure shows the ratio", async () => {
  const page = await makePage([
    { ...measured("2026-01-01", 100), wrong: ["backlog: t"], missing: ["pgstream: no arm"] },
  ]);
  expect(page.markdown).toContain("did not hold what their sources held:\n\n- backlog: t");
  expect(page.markdown).toContain("- pgstream: no arm");
  expect(page.charts.get("backlog-rate.svg")).toContain("rate, native");
});

test("what a sync of the disk took stands on the page, where it was measured", async () => {
  const [first, second] = [measured("2026-01-01", 100), measured("2026-01-02", 300)];
  const took = (syncMicros: number) => ({ ...first, machine: { ...first.machine, syncMicros } });
  expect((await makePage([first, second])).markdown).not.toContain("A sync of the disk");
  expect((await makePage([took(84), second])).markdown).toContain("disk took 84 µs.");
  expect((await makePage([took(84), took(91)])).markdown).toContain("disk took 84 to 91 µs.");
});

function measured(day: string, rate: number): Measurement {
  const results = new Results();
  const native = { rate: 100 };
  const round = {
    baseline: [native, native],
    tidemark: { rate },
    equals: [native, native] as const,
  };
  results.compare("backlog", "native", [round], {
    ...{ figure: "rate", unit: "changes/s", better: "higher" },
  });
  return {
    ...{ version: 2, startedAt: day, endedAt: day, commit: "abc", versions: {}, command: "" },
    machine: { processors: 2, model: "any", memoryBytes: 2 ** 30 },
    options: { queue: "embedded", quick: false },
    ...results,
    command: `npm run bench -- ${day}`,
  };
}
