import { sleep } from "../core/async.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Position } from "../core/position.ts";
import { isComplete, type QueueStream } from "../core/queue.ts";
import type { Inbox } from "./inbox.ts";
import type { Arrivals } from "./pieces.ts";

/** So long a stream that ends further on may give nothing; doubled each time that proved too short. */
const GAP_SILENCE_MS = 1_000;
const MAX_GAP_SILENCE_MS = 60_000;
/** So long the rest of a batch is awaited with the target's transaction open, and its locks held. */
const HALF_BATCH_MS = 5_000;
const HALF_BATCH_POLL_MS = 1_000;

/** What should come of a stream and does not: how long it is awaited. Outlives the applier's sessions. */
export class Missing {
  #gapSilenceMs = GAP_SILENCE_MS;
  /** A batch of which only a part is in the stream, and may be for long. */
  #unfinished = 0;

  /** What was missing has come: something is committed. */
  found(): void {
    this.#gapSilenceMs = GAP_SILENCE_MS;
  }

  /** Is a batch behind this one awaited, of which there is only a part? Then what is whole is not kept open for it. */
  isBehind(batch: number): boolean {
    return batch < this.#unfinished;
  }

  /** Nothing is begun at the target while only a part of the next batch is there. `stillHere` is called meanwhile. */
  async untilWhole(
    stream: QueueStream,
    { batch }: Position,
    {
      signal,
      stillHere,
    }: { readonly signal: AbortSignal; readonly stillHere: () => Promise<void> },
  ): Promise<void> {
    while (batch + 1 === this.#unfinished && !signal.aborted) {
      const { mark } = await stream.tail();
      const partial = mark !== null && mark.chunk === 0 && !isComplete(mark);
      if (!partial || mark.batch !== this.#unfinished) return;
      await stillHere();
      await sleep(HALF_BATCH_POLL_MS, signal);
    }
  }

  /**
   * Nothing came for a while: is there really nothing after our position? False when the stream is empty. Throws
   * TM-APPLY-RETRY or a gap when what should be there does not come, TM-TIMELINE-CHANGED when it never will.
   */
  async check(stream: QueueStream, inbox: Inbox, arrivals: Arrivals): Promise<boolean> {
    if (!inbox.atBoundary && arrivals.quietMs >= HALF_BATCH_MS) {
      this.#unfinished = inbox.position.batch + 1;
      throw new TidemarkError(
        "TM-APPLY-RETRY",
        `The rest of batch ${this.#unfinished} does not come: rolling back what was applied of it.`,
      );
    }
    const { mark } = await stream.tail();
    if (mark === null) return false;
    inbox.checkTimeline(mark.timeline);
    const behind = mark.last && mark.batch > inbox.position.batch;
    // The reader may be just about to give it, or be in the middle of a large row.
    if (arrivals.silentMs(behind) < this.#gapSilenceMs) return true;
    this.#gapSilenceMs = Math.min(MAX_GAP_SILENCE_MS, this.#gapSilenceMs * 2);
    throw inbox.missing(mark);
  }
}
