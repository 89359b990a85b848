import type {
  Consumer,
  ConsumerConfig,
  ConsumerMessages,
  JsMsg,
  StreamInfo,
} from "@nats-io/jetstream";
import { TidemarkError } from "../../core/errors.ts";
import type { QueueConnection } from "./connection.ts";
import { toQueueError } from "./errors.ts";

const NANOSECONDS_IN_MS = 1_000_000;
/** Two of these missed, and the delivery ends. */
const HEARTBEAT_MS = 1_500;
const PULL_EXPIRES_MS = 30_000;
/** A reader that takes nothing for so long loses its place at the server, not in the stream. */
const INACTIVE_MS = 60_000;
/** Bound of what is asked for at once: this many messages. */
const MOST_MESSAGES = 32;
/** And of small ones, which begin with the bound above. */
const MOST_SMALL_MESSAGES = 256;
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

export interface DeliveryOptions {
  /** Does it end, too, when nothing has come for a while? */
  readonly untilQuiet?: boolean;
  /** Are these messages such that many are soon there, however slow the connection? */
  readonly areSmall?: boolean;
  /** Did a delivery of the same end in doubt? Large ones behind small ones may fill a slow connection for too long. */
  readonly isAgain?: boolean;
  /** Are the first asked for before it is known that the stream is the one that was seen? They are read only when it is. */
  readonly asksAhead?: boolean;
  /** Of these the stream tells which it has. */
  readonly subjects?: string;
}

/** What is asked for at once. */
interface Asked {
  readonly messages: ConsumerMessages;
  readonly iterator: AsyncIterator<JsMsg>;
  readonly first: Promise<IteratorResult<JsMsg>>;
  readonly at: number;
}

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
  readonly #link: AbortSignal;
  readonly #doubt = new AbortController();
  /** Where it asks for messages; nothing answers there where that is not permitted. */
  readonly #asksAt: string;
  #denied: Error | null = null;
  /** What was asked for ahead. */
  #asked: Promise<Asked> | null = null;
  /** So many messages are asked for at a time. */
  #size: number;
  readonly #mostMessages: number;

  private constructor(
    connection: QueueConnection,
    place: { stream: string; name: string },
    { untilQuiet = false, areSmall = false, isAgain = false }: DeliveryOptions,
    consumer: Consumer,
  ) {
    this.#connection = connection;
    this.#stream = place.stream;
    this.#name = place.name;
    this.#untilQuiet = untilQuiet;
    this.#size = areSmall ? MOST_MESSAGES : 1;
    this.#mostMessages = areSmall && !isAgain ? MOST_SMALL_MESSAGES : MOST_MESSAGES;
    this.#consumer = consumer;
    this.#link = connection.link;
    this.#asksAt = `$JS.API.CONSUMER.MSG.NEXT.${this.#stream}.${this.#name}`;
    connection.onDenied.set(this.#asksAt, (reason) => {
      this.#denied = reason;
      this.#doubt.abort();
    });
  }

  /**
   * `seen`: the stream as the caller knows it, and chose `start` by. Throws TM-CONNECTION-LOST when it was
   * made anew since: the numbers in `start` would mean other messages, or ones that may never come. Gives, too, the stream as
   * it stood when everything that was written to it later was sure to be delivered.
   */
  static async open(
    connection: QueueConnection,
    seen: StreamInfo,
    start: Partial<ConsumerConfig>,
    options: DeliveryOptions = {},
  ): Promise<{ readonly delivery: Delivery; readonly info: StreamInfo }> {
    const { asksAhead = false, subjects } = options;
    const stream = seen.config.name;
    return connection.call(stream, async ({ manager, jetstream, ask }) => {
      let name: string | undefined;
      const made = await ask(async () => {
        const each = await manager.consumers.add(stream, {
          ...start,
          ack_policy: "none",
          mem_storage: true,
          num_replicas: 1,
          inactive_threshold: INACTIVE_MS * NANOSECONDS_IN_MS,
        });
        // Asked again before the answer came, the server has made another one, and would keep it for a while.
        if (name !== undefined) void manager.consumers.delete(stream, each.name).catch(() => {});
        name ??= each.name;
        return each;
      });
      const consumer = jetstream.consumers.getConsumerFromInfo(made);
      const delivery = new Delivery(connection, { stream, name: made.name }, options, consumer);
      try {
        // Only now: a stream deleted from here on takes the consumer with it, and that is noticed.
        const asking = ask(() =>
          manager.streams.info(stream, subjects === undefined ? {} : { subjects_filter: subjects }),
        );
        if (asksAhead) delivery.#askAhead();
        const info = await asking;
        if (info.created !== seen.created) throw madeAnew(stream);
        return { delivery, info };
      } catch (error) {
        delivery.discard();
        throw error;
      }
    });
  }

  /**
   * Asks for a few at a time: as many as come within a second. What is on its way holds up answers and pings behind
   * it, and of a slow connection that it fills for longer than they are waited for nothing would ever come whole.
   */
  async *read(signal: AbortSignal): AsyncGenerator<JsMsg> {
    const stop = AbortSignal.any([signal, this.#link, this.#doubt.signal]);
    let delivered = 0;
    let isBehind = false;
    try {
      while (!stop.aborted) {
        const asked = await (this.#asked ?? this.#ask());
        this.#asked = null;
        const { messages, at } = asked;
        let left = this.#size;
        for await (const message of messagesOf(asked, stop)) {
          if (signal.aborted) return;
          const { deliverySequence, pending } = message.info;
          // What was sent into a dying connection is not sent again by itself.
          if (deliverySequence !== ++delivered) return;
          left--;
          if (left === 0) {
            // However long the reader is at it: there is nothing more to be missed.
            messages.stop();
            if (isBehind) this.#size = this.#nextSize(performance.now() - at);
          }
          isBehind = pending > 0;
          yield message;
        }
      }
    } catch {
      // The driver's reasons to stop (stream gone, request refused) are doubts like the others.
    } finally {
      this.#doubt.abort();
      this.discard();
    }
    if (this.#denied !== null) throw toQueueError(this.#denied, this.#stream);
  }

  /** For a delivery that is not read after all, or no longer. */
  discard(): void {
    this.#asked?.then(({ messages }) => messages.stop()).catch(() => {});
    this.#asked = null;
    this.#connection.onDenied.delete(this.#asksAt);
    this.#forget();
  }

  /** Of how many messages to ask next, when those that were there took so long. */
  #nextSize(tookMs: number): number {
    if (tookMs < SOON_MS) return Math.min(this.#mostMessages, this.#size * 2);
    return tookMs > LATE_MS ? Math.max(1, Math.floor(this.#size / 2)) : this.#size;
  }

  #askAhead(): void {
    this.#asked = this.#ask();
    this.#asked.catch(() => this.#doubt.abort());
  }

  async #ask(): Promise<Asked> {
    const at = performance.now();
    const messages = await this.#consumer.fetch({
      max_messages: this.#size,
      expires: PULL_EXPIRES_MS,
      idle_heartbeat: HEARTBEAT_MS,
    });
    this.#lookForDoubts(messages).catch(() => this.#doubt.abort());
    // The driver sends what it is asked when the first message is waited for.
    const iterator = messages[Symbol.asyncIterator]();
    const first = iterator.next();
    first.catch(() => {});
    return { messages, iterator, first, at };
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

async function* messagesOf(
  { messages, iterator, first }: Asked,
  stop: AbortSignal,
): AsyncGenerator<JsMsg> {
  const halt = () => messages.stop();
  stop.addEventListener("abort", halt, { once: true });
  if (stop.aborted) halt();
  try {
    for (let next = await first; next.done !== true; next = await iterator.next()) yield next.value;
  } finally {
    stop.removeEventListener("abort", halt);
    halt();
  }
}

function madeAnew(stream: string): TidemarkError {
  return new TidemarkError("TM-CONNECTION-LOST", `The NATS stream ${stream} was made anew.`, {
    details: { queue: stream },
  });
}
