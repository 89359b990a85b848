// The files that `npm run bench` writes, read back and put together.
import { readFileSync } from "node:fs";
import type { Comparison, Single } from "../results.ts";

const VERSION = 2;

/** What the page needs of a file; written by bench/report.ts. */
export interface Measurement {
  readonly version: number;
  readonly startedAt: string;
  readonly endedAt: string;
  readonly commit: string;
  readonly machine: {
    readonly processors: number;
    readonly model: string;
    readonly memoryBytes: number;
    /** Not in files of an earlier build. */
    readonly syncMicros?: number;
  };
  readonly versions: Readonly<Record<string, string>>;
  readonly options: { readonly queue: string; readonly quick: boolean };
  readonly command: string;
  readonly comparisons: readonly Comparison[];
  readonly singles: readonly Single[];
  readonly wrong: readonly string[];
  readonly missing: readonly string[];
}

/** In the order of their start. Throws on what cannot go into the page. */
export function readMeasurements(files: readonly string[]): Measurement[] {
  const read = files.map((file) => {
    const measurement = JSON.parse(readFileSync(file, "utf8")) as Measurement;
    if (measurement.version !== VERSION) {
      throw new Error(
        `${file} has version ${measurement.version}; the page is made of ${VERSION}.`,
      );
    }
    if (measurement.options.quick) throw new Error(`${file} was made with --quick.`);
    return measurement;
  });
  return read.sort((a, b) => (a.startedAt < b.startedAt ? -1 : 1));
}

/** A figure with the command that gave it. */
export type From<T> = T & { readonly command: string };

/** Of all files; where one was measured twice, the later. */
export function comparisonsOf(measurements: readonly Measurement[]): From<Comparison>[] {
  return latest(
    measurements,
    ({ comparisons }) => comparisons,
    ({ scenario, figure, baselineName }) => [scenario, figure, baselineName],
  );
}

export function singlesOf(measurements: readonly Measurement[]): From<Single>[] {
  return latest(
    measurements,
    ({ singles }) => singles,
    ({ scenario, figure }) => [scenario, figure],
  );
}

/** After the name of a scenario that ran with a queue other than the usual one. */
export const OVER_NATS = " over NATS";

function latest<T extends { readonly scenario: string }>(
  measurements: readonly Measurement[],
  list: (measurement: Measurement) => readonly T[],
  identity: (figure: T) => readonly string[],
): From<T>[] {
  const found = new Map<string, From<T>>();
  for (const measurement of measurements) {
    const suffix = measurement.options.queue === "nats" ? OVER_NATS : "";
    for (const each of list(measurement)) {
      const figure = { ...each, scenario: `${each.scenario}${suffix}` };
      const key = identity(figure).join("\n");
      found.delete(key); // to the end, where its own kind stands
      found.set(key, { ...figure, command: measurement.command });
    }
  }
  return [...found.values()];
}
