import type {
  Consumer,
  ConsumerConfig,
  ConsumerMessages,
  JsMsg,
  StreamInfo,
} from "@nats-io/jetstream";
import { TidemarkError } from "../../core/errors.ts";
import type { QueueConnection } from "./connection.ts";

const NANOSECONDS_IN_MS = 1_000_000;
/** Two of these missed, and the delivery ends. */
const HEARTBEAT_MS = 1_500;
const PULL_EXPIRES_MS = 30_000;
/** A reader that takes nothing for so long loses its place at the server, not in the stream. */
const INACTIVE_MS = 60_000;
/** Bound of what is asked for at once: this many messages. */
const MOST_MESSAGES = 32;
/** What is asked for at once is twice as much next time when it came sooner than this, half as much when later. */
const SOON_MS = 250;
const LATE_MS = 1_000;

/** What the driver reports when the place we read from may not be what it was. It goes on by itself; we look. */
const DOUBTS = new Set([
  "heartbeats_missed",
  "no_responders",
  "consumer_not_found",
  "consumer_deleted",
  "stream_not_found",
  "exceeded_limits",
]);

/**
 * Messages of one stream from one place on, for as long as there is no doubt that they are all of
 * them and in order. It *ends* (without error) at the first doubt: connection lost, heartbeat missed,
 * stream or consumer gone, a delivery skipped. The caller then looks where the stream stands now:
 * that is one path for every fault, instead of one repair for each.
 */
export class Delivery {
  readonly #connection: QueueConnection;
  readonly #stream: string;
  readonly #name: string;
  readonly #consumer: Consumer;
  readonly #untilQuiet: boolean;
  readonly #doubt = new AbortController();
  /** So many messages are asked for at a time. */
  #size: number;

  private constructor(
    connection: QueueConnection,
    place: { stream: string; name: string; untilQuiet: boolean; areSmall: boolean },
    consumer: Consumer,
  ) {
    this.#connection = connection;
    this.#stream = place.stream;
    this.#name = place.name;
    this.#untilQuiet = place.untilQuiet;
    this.#size = place.areSmall ? MOST_MESSAGES : 1;
    this.#consumer = consumer;
  }

  /**
   * `seen`: the stream as the caller knows it, and chose `start` by. Throws TM-CONNECTION-LOST when it was
   * made anew since: the numbers in `start` would mean other messages, or ones that may never come. `untilQuiet`: it ends,
   * too, when nothing has come for a while. `areSmall`: of these messages many are soon there, however slow the connection.
   */
  static async open(
    connection: QueueConnection,
    seen: StreamInfo,
    start: Partial<ConsumerConfig>,
    { untilQuiet = false, areSmall = false } = {},
  ): Promise<Delivery> {
    const stream = seen.config.name;
    return connection.call(stream, async ({ manager, jetstream }) => {
      const info = await manager.consumers.add(stream, {
        ...start,
        ack_policy: "none",
        mem_storage: true,
        num_replicas: 1,
        inactive_threshold: INACTIVE_MS * NANOSECONDS_IN_MS,
      });
      // Only now: a stream deleted from here on takes the consumer with it, and that is noticed.
      const { created } = await manager.streams.info(stream);
      if (created !== seen.created) throw madeAnew(stream);
      const consumer = jetstream.consumers.getConsumerFromInfo(info);
      return new Delivery(connection, { stream, name: info.name, untilQuiet, areSmall }, consumer);
    });
  }

  /**
   * Asks for a few at a time: as many as come within a second. What is on its way holds up answers and pings behind
   * it, and of a slow connection that it fills for longer than they are waited for nothing would ever come whole.
   */
  async *read(signal: AbortSignal): AsyncGenerator<JsMsg> {
    const stop = AbortSignal.any([signal, this.#connection.link, this.#doubt.signal]);
    let delivered = 0;
    let isBehind = false;
    try {
      while (!stop.aborted) {
        const askedAt = performance.now();
        const messages = await this.#ask(stop);
        let left = this.#size;
        for await (const message of messages) {
          if (signal.aborted) return;
          const { deliverySequence, pending } = message.info;
          // What was sent into a dying connection is not sent again by itself.
          if (deliverySequence !== ++delivered) return;
          left--;
          if (left === 0) {
            // However long the reader is at it: there is nothing more to be missed.
            messages.stop();
            if (isBehind) this.#size = nextSize(this.#size, performance.now() - askedAt);
          }
          isBehind = pending > 0;
          yield message;
        }
      }
    } catch {
      // The driver's reasons to stop (stream gone, request refused) are doubts like the others.
    } finally {
      this.#doubt.abort();
      this.#forget();
    }
  }

  /** For a delivery that is not read after all. */
  discard(): void {
    this.#forget();
  }

  async #ask(signal: AbortSignal): Promise<ConsumerMessages> {
    const messages = await this.#consumer.fetch({
      max_messages: this.#size,
      expires: PULL_EXPIRES_MS,
      idle_heartbeat: HEARTBEAT_MS,
    });
    const stop = () => messages.stop();
    signal.addEventListener("abort", stop, { once: true });
    if (signal.aborted) stop();
    this.#lookForDoubts(messages)
      .catch(() => this.#doubt.abort())
      .finally(() => signal.removeEventListener("abort", stop));
    return messages;
  }

  async #lookForDoubts(messages: ConsumerMessages): Promise<void> {
    for await (const { type } of messages.status()) {
      if (DOUBTS.has(type) || (this.#untilQuiet && type === "heartbeat")) this.#doubt.abort();
    }
  }

  /** Best effort: the server drops it by itself when nobody asks for INACTIVE_MS. */
  #forget(): void {
    if (this.#connection.closed.aborted) return;
    this.#connection
      .call(this.#stream, ({ manager }) => manager.consumers.delete(this.#stream, this.#name))
      .catch(() => {});
  }
}

/** Of how many messages to ask next, when so many that were there took so long. */
function nextSize(size: number, tookMs: number): number {
  if (tookMs < SOON_MS) return Math.min(MOST_MESSAGES, size * 2);
  return tookMs > LATE_MS ? Math.max(1, Math.floor(size / 2)) : size;
}

function madeAnew(stream: string): TidemarkError {
  return new TidemarkError("TM-CONNECTION-LOST", `The NATS stream ${stream} was made anew.`, {
    details: { queue: stream },
  });
}
