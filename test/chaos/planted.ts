// How soon the simulation finds each planted fault: `npm run chaos -- --plants --record` writes it. Whether each is found
// at all is tested in every run; after a change of the engine or the worlds it may be another seed that finds it.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { z } from "zod";

const FILE = fileURLToPath(new URL("planted.json", import.meta.url));
/** A planted fault is found within seeds 1 to this. */
export const SEEDS_FOR_A_PLANT = 50;

const detection = z.strictObject({
  plant: z.string(),
  /** The first seed that failed. */
  firstSeed: z.int().positive(),
  /** How many of the seeds failed. */
  caught: z.int().positive().max(SEEDS_FOR_A_PLANT),
});
export type Detection = z.infer<typeof detection>;

export function readDetections(): readonly Detection[] {
  return z.array(detection).parse(JSON.parse(readFileSync(FILE, "utf8")));
}

/** Writes what was found. Throws when a fault was not found. */
export function writeDetections(detections: readonly Detection[]): string {
  const checked = z.array(detection).parse(detections);
  writeFileSync(FILE, `${JSON.stringify(checked, null, 2)}\n`);
  return FILE;
}
