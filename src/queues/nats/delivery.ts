import type { ConsumerConfig, ConsumerMessages, JsMsg, StreamInfo } from "@nats-io/jetstream";
import { TidemarkError } from "../../core/errors.ts";
import type { QueueConnection } from "./connection.ts";

const NANOSECONDS_IN_MS = 1_000_000;
/** Two of these missed, and the delivery ends. */
const HEARTBEAT_MS = 1_500;
const PULL_EXPIRES_MS = 30_000;
/** A reader that takes nothing for so long loses its place at the server, not in the stream. */
const INACTIVE_MS = 60_000;
/** Bound of what is read ahead: this many messages, and about this many bytes of the largest kind. */
const AHEAD_MESSAGES = 64;
const AHEAD_BYTES = 32 * 1024 * 1024;

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
  readonly #consumer: string;
  readonly #messages: ConsumerMessages;
  readonly #untilQuiet: boolean;

  private constructor(
    connection: QueueConnection,
    place: { stream: string; consumer: string; untilQuiet: boolean },
    messages: ConsumerMessages,
  ) {
    this.#connection = connection;
    this.#stream = place.stream;
    this.#consumer = place.consumer;
    this.#untilQuiet = place.untilQuiet;
    this.#messages = messages;
  }

  /**
   * `seen`: the stream as the caller knows it, and chose `start` by. Throws TM-CONNECTION-LOST when it was
   * made anew since: the numbers in `start` would mean other messages, or ones that may never come. `untilQuiet`: it ends,
   * too, when nothing has come for a while.
   */
  static async open(
    connection: QueueConnection,
    seen: StreamInfo,
    start: Partial<ConsumerConfig>,
    { untilQuiet = false } = {},
  ): Promise<Delivery> {
    const ahead = Math.floor(AHEAD_BYTES / connection.maxPayload);
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
      const messages = await consumer.consume({
        max_messages: Math.max(4, Math.min(AHEAD_MESSAGES, ahead)),
        expires: PULL_EXPIRES_MS,
        idle_heartbeat: HEARTBEAT_MS,
        abort_on_missing_resource: true,
      });
      const place = { stream, consumer: info.name, untilQuiet };
      return new Delivery(connection, place, messages);
    });
  }

  async *read(signal: AbortSignal): AsyncGenerator<JsMsg> {
    const link = this.#connection.link;
    const stop = () => this.#messages.stop();
    for (const each of [signal, link]) each.addEventListener("abort", stop, { once: true });
    if (signal.aborted || link.aborted) stop();
    this.#stopAtDoubt().catch(stop);
    let delivered = 0;
    try {
      for await (const message of this.#messages) {
        if (signal.aborted) return;
        // What was sent into a dying connection is not sent again by itself.
        if (message.info.deliverySequence !== ++delivered) return;
        yield message;
      }
    } catch {
      // The driver's reasons to stop (stream gone, request refused) are doubts like the others.
    } finally {
      for (const each of [signal, link]) each.removeEventListener("abort", stop);
      stop();
      this.#forget();
    }
  }

  /** For a delivery that is not read after all. */
  discard(): void {
    this.#messages.stop();
    this.#forget();
  }

  async #stopAtDoubt(): Promise<void> {
    for await (const { type } of this.#messages.status()) {
      if (DOUBTS.has(type) || (this.#untilQuiet && type === "heartbeat")) this.#messages.stop();
    }
  }

  /** Best effort: the server drops it by itself when nobody asks for INACTIVE_MS. */
  #forget(): void {
    if (this.#connection.closed.aborted) return;
    this.#connection
      .call(this.#stream, ({ manager }) => manager.consumers.delete(this.#stream, this.#consumer))
      .catch(() => {});
  }
}

function madeAnew(stream: string): TidemarkError {
  return new TidemarkError("TM-CONNECTION-LOST", `The NATS stream ${stream} was made anew.`, {
    details: { queue: stream },
  });
}
