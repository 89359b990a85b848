import { defineConfig } from "vitest/config";
import { LongestFirst } from "./test/servers/longest-first.ts";
import { MissingReporter } from "./test/servers/missing-reporter.ts";

/** Tests that need no server and end in seconds. */
const UNIT = ["src/**/*.test.ts", "bench/**/*.test.ts", "test/guarantees/*.test.ts"];

export default defineConfig({
  test: {
    // Each worker of the server tests keeps several connections and a pipeline busy; one more than the
    // two cores of a small machine, as each also waits for disks.
    maxWorkers: 3,
    sequence: { sequencer: LongestFirst },
    reporters: [
      "default",
      new MissingReporter(),
      ["json", { outputFile: ".test-results/vitest.json" }],
    ],
    projects: [
      {
        test: {
          name: "unit",
          include: UNIT,
          // They take a second at most, but those that try hundreds of cases took thirteen on a machine busy with other work.
          testTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        test: {
          name: "servers",
          include: ["test/**/*.test.ts"],
          exclude: UNIT,
          globalSetup: ["test/servers/global-setup.ts"],
          testTimeout: 180_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
