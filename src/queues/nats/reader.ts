import type { StreamInfo } from "@nats-io/jetstream";
import { backoff, sleep } from "../../core/async.ts";
import { toTidemarkError } from "../../core/errors.ts";
import { comparePositions, type Position } from "../../core/position.ts";
import type { QueueMessage } from "../../core/queue.ts";
import type { QueueConnection } from "./connection.ts";
import { Delivery } from "./delivery.ts";
import { markTextAt, sequenceAfter } from "./log.ts";
import { decodeMark, MARK_HEADER } from "./marks.ts";

/** The last message handed on: by number, by mark, and in which stream (one made anew counts from 1). */
interface Place {
  readonly created: string;
  readonly sequence: number;
  readonly mark: string;
}

interface Attempt {
  readonly messages: Delivery;
  readonly created: string;
}

export interface ReadOptions {
  /** The stream as it stands, made when it is not there. */
  readonly inspect: () => Promise<StreamInfo>;
  readonly after: Position;
  readonly signal: AbortSignal;
}

/**
 * Reads for ever. Each delivery ends at the first doubt; then the stream is inspected, and reading
 * goes on behind the last message if that still stands there, else from what is there.
 */
export async function* readStream(
  connection: QueueConnection,
  { inspect, after, signal }: ReadOptions,
): AsyncGenerator<QueueMessage> {
  let place: Place | null = null;
  for (let attempt = 0; !signal.aborted; ) {
    const delivery: Attempt | null = await attemptDelivery(connection, inspect, place, after).catch(
      async (error: unknown) => {
        const coded = toTidemarkError(error);
        if (signal.aborted) return null;
        if (!coded.retryable) throw coded;
        await sleep(backoff(attempt), signal);
        return null;
      },
    );
    attempt++;
    if (delivery === null) continue;
    for await (const message of delivery.messages.read(signal)) {
      attempt = 0;
      const text = message.headers?.get(MARK_HEADER) ?? "";
      const mark = decodeMark(text);
      if (mark === null) continue;
      // Until it has begun, a reader waits for its position; from then on it takes what comes.
      if (place === null && comparePositions(mark, after) <= 0) continue;
      place = { created: delivery.created, sequence: message.seq, mark: text };
      yield { mark, body: message.data };
      if (signal.aborted) return;
    }
  }
}

async function attemptDelivery(
  connection: QueueConnection,
  inspect: () => Promise<StreamInfo>,
  place: Place | null,
  after: Position,
): Promise<Attempt> {
  const info = await inspect();
  const start =
    place === null
      ? await sequenceAfter(connection, info, after)
      : await sequenceBehind(connection, info, place);
  const { delivery: messages } = await Delivery.open(connection, info, {
    deliver_policy: "by_start_sequence",
    opt_start_seq: Math.max(1, start),
  });
  return { messages, created: info.created };
}

/**
 * Where to go on. A stream that was made anew, restored or emptied gives other messages the same
 * numbers, or ends before them: waiting for "number + 1" would be silence for ever, or a hole.
 */
async function sequenceBehind(
  connection: QueueConnection,
  info: StreamInfo,
  place: Place,
): Promise<number> {
  const { first_seq, last_seq } = info.state;
  const isSame = info.created === place.created && place.sequence <= last_seq;
  if (!isSame || place.sequence < first_seq) return first_seq;
  const mark = await markTextAt(connection, info.config.name, place.sequence);
  return mark === place.mark ? place.sequence + 1 : first_seq;
}
