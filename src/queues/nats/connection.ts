import { backoff, sleep } from "../../core/async.ts";
import { type Encryption, isLoopback } from "../../core/encryption.ts";
import { TidemarkError, toTidemarkError } from "../../core/errors.ts";
import type { Logger } from "../../core/log.ts";
import { queueClosed } from "../../core/queue.ts";
import { RetryLog } from "../../core/retry-log.ts";
import { connectClient, type NatsClient } from "./client.ts";
import { deniedSubject, toQueueError } from "./errors.ts";
import { asksForTls, hostOf, type NatsLocation } from "./location.ts";

/** A server that is only started again is back before. */
const WHY_AFTER_MS = 3_000;
const WHY_AGAIN_MS = 60_000;

/**
 * A connection that comes back for ever. Whoever is in the middle of a question when it breaks is told
 * at once; whoever reads is told by `link`, and looks anew where it stands.
 */
export class QueueConnection {
  readonly location: NatsLocation;
  readonly logger: Logger;
  /** Names of streams that the server has had room for since. */
  readonly granted = new Set<string>();
  /** Told that the server does not permit messages to this subject: of those that nobody waits for an answer to. */
  readonly onDenied = new Map<string, (reason: Error) => void>();
  readonly #closing = new AbortController();
  #client: NatsClient;
  #link = new AbortController();
  /** As the server told when it was last connected to. */
  #maxPayload = 0;
  /** Aborts when it is told no more why there is none. */
  #toldWhy = new AbortController();

  private constructor(location: NatsLocation, logger: Logger, client: NatsClient) {
    this.location = location;
    this.logger = logger;
    this.#client = client;
    this.#maxPayload = this.maxPayload;
    this.#follow(client);
  }

  static async open(location: NatsLocation, logger: Logger): Promise<QueueConnection> {
    return new QueueConnection(location, logger, await connectClient(location));
  }

  /** Aborts when the queue is closed. */
  get closed(): AbortSignal {
    return this.#closing.signal;
  }

  /** Aborts when this connection to the server is lost; a new one has a new signal. */
  get link(): AbortSignal {
    return this.#link.signal;
  }

  /** Without a word in the URL, too, the driver goes over to TLS where the server has it, and checks the certificate. */
  get encryption(): Encryption {
    const { info } = this.#client.connection;
    const hasTls = info?.tls_required === true || info?.tls_available === true;
    if (asksForTls(this.location) || hasTls) return "checked";
    return this.location.servers.every((server) => isLoopback(hostOf(server))) ? "local" : "none";
  }

  /** The largest message the server takes, headers included. While it is away the driver does not know any more. */
  get maxPayload(): number {
    return this.#client.connection.info?.max_payload ?? this.#maxPayload;
  }

  /**
   * Asks the server. Throws TM-CONNECTION-LOST when there is no connection or it breaks: then
   * whether the server did it is unknown.
   */
  async call<T>(what: string, work: (client: NatsClient) => Promise<T>): Promise<T> {
    if (this.closed.aborted) throw queueClosed();
    const link = this.link;
    // What is sent while there is no connection would wait in the client and be sent much later.
    if (link.aborted) throw lost(what);
    let onLost = () => {};
    const broken = new Promise<never>((_, reject) => {
      onLost = () => reject(lost(what));
      link.addEventListener("abort", onLost, { once: true });
    });
    try {
      return await Promise.race([work(this.#client), broken]);
    } catch (error) {
      throw toQueueError(error, what);
    } finally {
      link.removeEventListener("abort", onLost);
    }
  }

  async close(): Promise<void> {
    if (this.closed.aborted) return;
    this.#closing.abort();
    this.#link.abort();
    await this.#client.connection.close();
  }

  #follow(client: NatsClient): void {
    const watch = async () => {
      for await (const status of client.connection.status()) {
        const { type } = status;
        if (type === "disconnect" || type === "staleConnection") this.#lose();
        if (type === "reconnect") this.#restore();
        if (type !== "error") continue;
        const subject = deniedSubject(status.error);
        if (subject !== null) this.onDenied.get(subject)?.(status.error);
      }
    };
    watch().catch((error: unknown) => this.logger.debug({ error: String(error) }, "status ended"));
    client.connection
      .closed()
      .then(() => this.#redial())
      .catch((error: unknown) => this.logger.error({ error: String(error) }, "queue lost"));
  }

  #lose(): void {
    if (this.#link.signal.aborted) return;
    this.#link.abort();
    if (this.closed.aborted) return;
    this.logger.warn({}, "connection to NATS lost");
    this.#toldWhy = new AbortController();
    const until = AbortSignal.any([this.closed, this.#toldWhy.signal]);
    this.#tellWhy(until).catch((error: unknown) =>
      this.logger.debug({ error: String(error) }, "asking why ended"),
    );
  }

  /**
   * The driver tries on and on, and says nothing of why it fails: a certificate may have expired. So it is asked for here;
   * where there is no reason, it begins from the start.
   */
  async #tellWhy(until: AbortSignal): Promise<void> {
    for (let wait = WHY_AFTER_MS; ; wait = WHY_AGAIN_MS) {
      await sleep(wait, until);
      if (until.aborted) return;
      const reason = await whyNot(this.location);
      if (until.aborted) return;
      // The driver alone does not get there: it forgets each address that was away when it first connected.
      if (reason === null) return await this.#client.connection.close();
      this.logger.warn(reason, "NATS cannot be reached");
    }
  }

  #restore(): void {
    if (this.closed.aborted) return;
    this.#toldWhy.abort();
    this.#maxPayload = this.maxPayload;
    this.#link.abort();
    this.#link = new AbortController();
    this.logger.info({}, "connected to NATS again");
  }

  /** The driver gave up, whatever the reason: begin from the start. */
  async #redial(): Promise<void> {
    this.#lose();
    // Told here at each attempt.
    this.#toldWhy.abort();
    const log = new RetryLog(this.logger, "NATS cannot be reached");
    for (let attempt = 0; !this.closed.aborted; attempt++) {
      try {
        const client = await connectClient(this.location);
        if (this.closed.aborted) return await client.connection.close();
        this.#client = client;
        this.#follow(client);
        return this.#restore();
      } catch (error) {
        log.failed(error);
        await sleep(backoff(attempt), this.closed);
      }
    }
  }
}

/** For the log; null where it can be reached. */
async function whyNot(location: NatsLocation): Promise<object | null> {
  try {
    const client = await connectClient(location);
    await client.connection.close();
    return null;
  } catch (error) {
    const { code, message, fix } = toTidemarkError(error);
    return { code, error: message, ...(fix === undefined ? {} : { fix }) };
  }
}

function lost(what: string): TidemarkError {
  return new TidemarkError("TM-CONNECTION-LOST", `The connection to NATS is lost (${what}).`, {
    details: { queue: what },
  });
}
