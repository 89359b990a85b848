import { randomUUID } from "node:crypto";
import { keys, type Order } from "../core/documents.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Queue } from "../core/queue.ts";

/** Gives the answer of the sync's applier, wherever it runs. `queue`: null where there is none yet. Throws TM-WAIT-TIMEOUT. */
export async function askApplier<O extends Order>(
  queue: Queue | null,
  sync: string,
  order: O,
  timeoutMs: number,
): Promise<NonNullable<O["answer"]>> {
  if (queue === null) {
    throw new TidemarkError(
      "TM-WAIT-TIMEOUT",
      `The applier of ${sync} cannot be asked: there is no queue yet, so none runs with this one.`,
      {
        fix: "Start tidemark run; where it runs, ask in the same folder, and with the same --queue.",
        details: { sync },
      },
    );
  }
  const key = keys.order(sync, randomUUID());
  await queue.documents.put(key, order);
  try {
    for await (const { value } of queue.documents.watch(key, AbortSignal.timeout(timeoutMs))) {
      const answer = (value as O | null)?.answer;
      if (answer) return answer;
    }
  } finally {
    await queue.documents.remove(key);
  }
  throw new TidemarkError(
    "TM-WAIT-TIMEOUT",
    `The applier of ${sync} has not answered within ${Math.round(timeoutMs / 1000)} s; unless it is just at it, nothing will be done.`,
    { fix: "Is it running? Start it (tidemark run), and see tidemark status.", details: { sync } },
  );
}
