// Who else keeps two PostgreSQL databases in step: the only list of them.
import type { RivalName } from "../options.ts";
import type { Context } from "../scenario.ts";
import type { Arm, Rival, RivalSetup } from "./arm.ts";
import { createBucardo } from "./bucardo.ts";
import { createDebezium } from "./debezium.ts";
import { createNative } from "./native.ts";
import { createPglogical } from "./pglogical.ts";

/** Rejects with the reason where it cannot be had. */
type Create = (setup: RivalSetup) => Promise<Rival>;

const CREATE: Partial<Record<RivalName, Create>> = {
  native: createNative,
  pglogical: createPglogical,
  bucardo: createBucardo,
  debezium: createDebezium,
  pgstream: () =>
    Promise.reject(
      new Error(
        "no arm: `go install github.com/xataio/pgstream@latest` is refused by the Go module proxy (403)",
      ),
    ),
};

/** Those that --against asks for, by name, stopped and in step; those that cannot be had are noted. */
export async function createRivals(
  { bed, results, say }: Context,
  { name, ...setup }: Omit<RivalSetup, "bed">,
): Promise<ReadonlyMap<string, Arm>> {
  const arms = new Map<string, Arm>();
  for (const rival of bed.options.against) {
    const create = CREATE[rival];
    if (create === undefined) continue; // of another kind of pair
    try {
      const { arm, version } = await create({ bed, name: `${name}_${rival}`, ...setup });
      if (rival !== "native") results.versions[rival] = version; // it is the server
      arms.set(rival, arm);
    } catch (error) {
      const reason = (error as Error).message;
      say(`without ${rival}: ${reason}`);
      const line = `${rival}: ${reason}`;
      if (!results.missing.includes(line)) results.missing.push(line);
    }
  }
  return arms;
}
