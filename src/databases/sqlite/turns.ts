import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./connection.ts";

export interface Turns {
  /** So long the write lock is held at a time, and so long it is then left to those who wait for it, in milliseconds. */
  readonly heldMs: number;
  readonly pauseMs: number;
  /** See Connection.write. */
  readonly durable?: boolean;
}

/** Work that is too long for one write transaction: each `step`, the first in any case, gives the place to go on from, until that is `end`. */
export async function writeInTurns<Place extends number | bigint>(
  connection: Connection,
  { start, end }: { readonly start: Place; readonly end: Place },
  step: (at: Place) => Place,
  { heldMs, pauseMs, durable = true }: Turns,
): Promise<void> {
  let next = start;
  do {
    if (next > start) await sleep(pauseMs);
    // Readers may not let it be committed: then it is done again from here.
    const from = next;
    next = await connection.write(
      () => {
        const until = performance.now() + heldMs;
        let at = from;
        do at = step(at);
        while (at < end && performance.now() < until);
        return at;
      },
      { durable },
    );
  } while (next < end);
}
