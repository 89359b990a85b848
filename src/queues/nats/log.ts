import type { StoredMsg, StreamInfo } from "@nats-io/jetstream";
import { comparePositions, type Position } from "../../core/position.ts";
import type { QueueConnection } from "./connection.ts";
import { decodeMark, MARK_HEADER } from "./marks.ts";

/**
 * The first sequence whose position is after `position`; last_seq + 1 when there is none. Positions
 * never go down within a stream (a resend of earlier batches begins with a reset), so halving finds
 * it: a dozen messages looked at for thousands stored.
 */
export async function sequenceAfter(
  connection: QueueConnection,
  { config, state }: StreamInfo,
  position: Position,
): Promise<number> {
  let low = state.first_seq;
  let high = state.last_seq + 1;
  while (low < high) {
    const middle = Math.floor((low + high) / 2);
    const text = await markTextAt(connection, config.name, middle);
    // A reset, or trimmed while we look: what is after it is further on.
    const mark = text === null ? null : decodeMark(text);
    if (mark !== null && comparePositions(mark, position) > 0) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The mark of one message as it travels; empty for a reset; null when there is no such message. */
export async function markTextAt(
  connection: QueueConnection,
  stream: string,
  sequence: number,
): Promise<string | null> {
  const stored = await storedAt(connection, stream, sequence);
  return stored === null ? null : stored.header.get(MARK_HEADER);
}

/** Null when there is no such message. */
export function storedAt(
  connection: QueueConnection,
  stream: string,
  sequence: number,
): Promise<StoredMsg | null> {
  // Asked of the leader: a follower may not have it yet, and "not there" would be taken for trimmed.
  return connection.call(stream, ({ manager }) =>
    manager.streams.getMessage(stream, { seq: sequence }),
  );
}
