import type { JsMsg, StreamInfo } from "@nats-io/jetstream";
import { backoff, sleep } from "../../core/async.ts";
import { isTidemarkError, TidemarkError, toTidemarkError } from "../../core/errors.ts";
import type { DocumentEntry, Documents, StandingDocument } from "../../core/queue.ts";
import type { NatsClient } from "./client.ts";
import type { QueueConnection } from "./connection.ts";
import { Delivery, type DeliveryOptions } from "./delivery.ts";
import { isNobodyThere, isStoreFailed, isStreamNotFound } from "./errors.ts";
import { bucketName, decodeKey, encodeKey } from "./names.ts";
import {
  assertSafe,
  ensureStream,
  isBroken,
  removeBroken,
  type StreamSettings,
} from "./settings.ts";

/** How NATS buckets mark a key that was removed. */
const OPERATION_HEADER = "KV-Operation";
/** A removal is marked this long, for watches that lag; then the mark itself goes. */
const MARK_KEPT_MS = 60_000;

/**
 * Documents in a key-value bucket. A bucket is a stream that keeps the last message of each subject; it
 * is used as such here, because a watch must find out by itself that the bucket was lost and made anew.
 */
export class NatsDocuments implements Documents {
  readonly #connection: QueueConnection;
  readonly #stream: string;
  readonly #subjects: string;
  readonly #settings: StreamSettings;
  /** The bucket as it was last looked at. */
  #seen: StreamInfo | null = null;

  constructor(connection: QueueConnection) {
    const bucket = bucketName(connection.location.prefix);
    this.#connection = connection;
    this.#stream = `KV_${bucket}`;
    this.#subjects = `$KV.${bucket}.`;
    this.#settings = {
      name: this.#stream,
      description: "Tidemark: layouts, progress, requests",
      subjects: [`${this.#subjects}>`],
      storage: "file",
      retention: "limits",
      discard: "new",
      max_msgs_per_subject: 1,
      num_replicas: connection.location.replicas,
      allow_direct: true,
    };
  }

  async open(): Promise<void> {
    await this.#ensure();
  }

  async put(key: string, value: unknown): Promise<void> {
    await this.#publish(key, JSON.stringify(value ?? null));
  }

  async replace(key: string, value: unknown, revision: number): Promise<number> {
    return await this.#publish(key, JSON.stringify(value ?? null), { revision });
  }

  async remove(key: string, revision?: number): Promise<void> {
    // Not rolled up, which would spare the mark: a purge makes live consumers of a server of 2.9 skip
    // what is being stored at that moment, of whatever key.
    await this.#publish(key, "", {
      operation: "DEL",
      ...(revision === undefined ? {} : { revision }),
    });
  }

  async get(key: string): Promise<unknown | null> {
    return (await this.read(key)).value;
  }

  async read(key: string): Promise<StandingDocument> {
    const last_by_subj = this.#subjectOf(key);
    const stored = await this.#connection.call(this.#stream, async ({ manager, ask }) => {
      try {
        return await ask(() => manager.streams.getMessage(this.#stream, { last_by_subj }));
      } catch (error) {
        if (isStreamNotFound(error)) return null;
        throw error;
      }
    });
    if (stored === null) return { value: null, revision: 0 };
    const isRemoval = stored.header.get(OPERATION_HEADER) !== "";
    const value = isRemoval ? null : JSON.parse(new TextDecoder().decode(stored.data));
    return { value, revision: stored.seq };
  }

  /**
   * Reads until every key that stands has come, whatever the server counts as pending: of a key that is written over before
   * it was delivered it goes on counting one that never comes.
   */
  async list(prefix: string): Promise<ReadonlyMap<string, unknown>> {
    for (let attempt = 0; ; attempt++) {
      const entries = new Map<string, unknown>();
      const { delivery, standing } = await this.#deliver(attempt, { untilQuiet: true });
      const missing = new Set([...standing].filter((key) => key.startsWith(prefix)));
      if (missing.size === 0) {
        delivery.discard();
        return entries;
      }
      for await (const message of delivery.read(this.#connection.closed)) {
        const { key, value } = this.#entryOf(message);
        if (value === null) this.#sweep(message);
        if (!key.startsWith(prefix)) continue;
        if (value === null) entries.delete(key);
        else entries.set(key, value.json);
        missing.delete(key);
        if (missing.size === 0) return entries;
      }
      // Ended before all had come, or the mark of a removal is gone: from the start, until the connection says what is wrong.
      await sleep(backoff(attempt), this.#connection.closed);
    }
  }

  async *watch(prefix: string, signal: AbortSignal): AsyncGenerator<DocumentEntry> {
    const ended = AbortSignal.any([signal, this.#connection.closed]);
    /** Revision of each key told with a value. A bucket made anew counts from 1: its date belongs to it. */
    const told = new Map<string, string>();
    for (let attempt = 0; !ended.aborted; attempt++) {
      const opened = await this.#deliver(attempt).catch(async (error: unknown) => {
        const coded = toTidemarkError(error);
        if (!ended.aborted && !coded.retryable) throw coded;
        await sleep(backoff(attempt), ended);
        return null;
      });
      if (opened === null) continue;
      const { delivery, created, standing } = opened;
      yield* vanished(told, standing);
      for await (const message of delivery.read(ended)) {
        attempt = 0;
        const entry = this.#entryOf(message);
        const { key, value } = entry;
        if (value === null) this.#sweep(message);
        if (key.startsWith(prefix)) {
          const revision = `${created} ${message.seq}`;
          const isNews = value === null ? told.delete(key) : told.get(key) !== revision;
          if (value !== null) told.set(key, revision);
          if (isNews) yield { key, value: value?.json ?? null };
          if (ended.aborted) return;
        }
      }
    }
  }

  /** Gives the message's sequence. */
  async #publish(key: string, body: string, options: PublishOptions = {}): Promise<number> {
    try {
      return await this.#publishOrMend(key, body, options);
    } catch (error) {
      if (!isTidemarkError(error, "TM-QUEUE-CONFLICT")) throw error;
      throw new TidemarkError(
        "TM-QUEUE-CONFLICT",
        `The document "${key}" no longer stands at revision ${options.revision}.`,
        { cause: error },
      );
    }
  }

  async #publishOrMend(
    key: string,
    body: string,
    { operation, revision }: PublishOptions,
  ): Promise<number> {
    const expect = revision === undefined ? null : { lastSubjectSequence: revision };
    const send = async ({ jetstream, headers }: NatsClient) => {
      const header = headers();
      if (operation !== undefined) header.set(OPERATION_HEADER, operation);
      const options = { headers: header, ...(expect === null ? {} : { expect }) };
      return (await jetstream.publish(this.#subjectOf(key), body, options)).seq;
    };
    const sent = await this.#connection.call(this.#stream, async (client) => {
      try {
        return await send(client);
      } catch (error) {
        if (isNobodyThere(error)) return null; // the bucket was deleted
        if (!isStoreFailed(error)) throw error;
        if (!(await isBroken(this.#connection, this.#settings, 0))) throw error;
        await removeBroken(this.#connection, this.#stream);
        return null;
      }
    });
    if (sent !== null) return sent;
    await this.open();
    return await this.#connection.call(this.#stream, send);
  }

  /**
   * The last value of every key, then what is written. `standing`: the keys that come, marks of removals among them. The first
   * attempt begins with the bucket as it was last looked at, and asks ahead: both come right by being tried again.
   */
  async #deliver(attempt: number, { untilQuiet = false } = {}): Promise<Opened> {
    if (this.#seen !== null && attempt === 0) {
      try {
        return await this.#deliverFrom(this.#seen, { untilQuiet, asksAhead: true });
      } catch {
        // Deleted since, or made anew; what else there may be is met with again.
      }
    }
    return this.#deliverFrom(await this.#ensure(), { untilQuiet, isAgain: attempt > 0 });
  }

  async #deliverFrom(
    seen: StreamInfo,
    options: Pick<DeliveryOptions, "untilQuiet" | "asksAhead" | "isAgain">,
  ): Promise<Opened> {
    const all = `${this.#subjects}>`;
    const { delivery, info } = await Delivery.open(
      this.#connection,
      seen,
      { deliver_policy: "last_per_subject", filter_subject: all },
      { ...options, areSmall: true, subjects: all },
    );
    try {
      assertSafe(info, this.#settings);
    } catch (error) {
      delivery.discard();
      throw error;
    }
    const subjects = Object.keys(info.state.subjects ?? {});
    const keys = subjects.map((subject) => this.#keyOf(subject));
    return { delivery, created: info.created, standing: new Set(keys) };
  }

  async #ensure(): Promise<StreamInfo> {
    this.#seen = await ensureStream(this.#connection, this.#settings);
    return this.#seen;
  }

  /** `value` is null for a removal; a document may be JSON's null. */
  #entryOf(message: JsMsg): { key: string; value: { json: unknown } | null } {
    const key = this.#keyOf(message.subject);
    const isRemoval = (message.headers?.get(OPERATION_HEADER) ?? "") !== "";
    return { key, value: isRemoval ? null : { json: JSON.parse(message.string()) } };
  }

  /** Takes away the old mark of a removal; best effort, whoever comes across it next tries again. */
  #sweep({ seq, info }: JsMsg): void {
    const isOld = Date.now() - info.timestampNanos / 1e6 > MARK_KEPT_MS;
    if (!isOld || this.#connection.closed.aborted) return;
    this.#connection
      .call(this.#stream, ({ manager }) => manager.streams.deleteMessage(this.#stream, seq, false))
      .catch(() => {});
  }

  #keyOf(subject: string): string {
    return decodeKey(subject.slice(this.#subjects.length));
  }

  #subjectOf(key: string): string {
    return this.#subjects + encodeKey(key);
  }
}

interface Opened {
  readonly delivery: Delivery;
  /** When the stream was made. */
  readonly created: string;
  readonly standing: ReadonlySet<string>;
}

interface PublishOptions {
  readonly operation?: "DEL";
  /** Written only where the key's last message, a removal's too, has this sequence. */
  readonly revision?: number;
}

/** Those told that stand no more. */
function* vanished(
  told: Map<string, string>,
  standing: ReadonlySet<string>,
): Generator<DocumentEntry> {
  for (const key of [...told.keys()]) {
    if (standing.has(key)) continue;
    told.delete(key);
    yield { key, value: null };
  }
}
