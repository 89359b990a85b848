import { expect, test } from "vitest";
import { Results } from "./results.ts";
import { report, runLaps } from "./rounds.ts";

/** A side whose runs give these figures, one after the other; an error is thrown. */
function side(name: string, order: string[], ...values: (number | Error)[]) {
  return {
    name,
    async measure() {
      order.push(name);
      const value = values.shift();
      if (typeof value !== "number") throw value ?? new Error("run too often");
      return { rate: value };
    },
  };
}

const silent = () => {};
const RATE = { figure: "rate", unit: "changes/s", better: "higher", goal: 2 } as const;

test("the first rival stands at both ends of a round, and tells the noise for all", async () => {
  const order: string[] = [];
  const rivals = [side("native", order, 90, 110), side("other", order, 50)];
  const laps = await runLaps(1, side("Tidemark", order, 200), rivals, silent);
  expect(order).toEqual(["native", "Tidemark", "other", "native"]);
  const results = new Results();
  report(results, "backlog", laps, RATE);
  const [native, other] = results.comparisons;
  expect(native).toMatchObject({ baselineName: "native", ratio: { median: 2 }, met: true });
  expect(other).toMatchObject({ baselineName: "other", ratio: { median: 4 }, goal: null });
  for (const each of [native, other]) expect(each?.noise.median).toBeCloseTo(110 / 90);
});

test("a rival that fails is left out from then on, and its whole rounds count", async () => {
  const order: string[] = [];
  const rivals = [side("native", order, 100, 100, new Error("gone")), side("other", order, 50, 50)];
  const laps = await runLaps(2, side("Tidemark", order, 200, 200, 240), rivals, silent);
  expect([...laps.failed]).toEqual([["native", new Error("gone")]]);
  expect(laps.rivals.get("native")).toHaveLength(1);
  // Without a first rival, Tidemark tells the noise.
  expect(laps.rivals.get("other")?.[1]?.equals).toEqual([{ rate: 200 }, { rate: 240 }]);
});

test("without a rival, Tidemark is run twice and its figures stand alone", async () => {
  const laps = await runLaps(1, side("Tidemark", [], 200, 220), [], silent);
  const results = new Results();
  report(results, "backlog", laps, RATE);
  expect(results.comparisons).toEqual([]);
  expect(results.singles[0]).toMatchObject({ samples: [200, 220], goal: null, met: null });
});

test("a failure of Tidemark ends the run", async () => {
  const broken = side("Tidemark", [], new Error("broken"));
  await expect(runLaps(1, broken, [side("native", [], 1, 1)], silent)).rejects.toThrow("broken");
});
