import type { Finding } from "../../core/database.ts";
import { encryptionFindings } from "../../core/encryption.ts";
import type { Queue, QueueLimits, QueueOptions, QueueStream } from "../../core/queue.ts";
import { QueueConnection } from "./connection.ts";
import { NatsDocuments } from "./documents.ts";
import { parseLocation } from "./location.ts";
import { maxMessageBytes, NatsStream } from "./stream.ts";

const ENCRYPTED =
  "a certificate for the NATS server, and tls:// for nats:// in the URL (?ca=FILE where its authority is one of your own)";

export class NatsQueue implements Queue {
  readonly documents: NatsDocuments;
  readonly #connection: QueueConnection;
  readonly #maxStreamBytes: number;

  static async open({ url, logger, maxStreamBytes }: QueueOptions): Promise<NatsQueue> {
    const connection = await QueueConnection.open(parseLocation(url), logger);
    try {
      const documents = new NatsDocuments(connection);
      await documents.open();
      return new NatsQueue(connection, documents, maxStreamBytes);
    } catch (error) {
      await connection.close();
      throw error;
    }
  }

  private constructor(
    connection: QueueConnection,
    documents: NatsDocuments,
    maxStreamBytes: number,
  ) {
    this.documents = documents;
    this.#connection = connection;
    this.#maxStreamBytes = maxStreamBytes;
  }

  /** A server may be given others while we are connected. */
  get limits(): QueueLimits {
    return { maxMessageBytes: maxMessageBytes(this.#connection) };
  }

  openStream(source: string): Promise<QueueStream> {
    return NatsStream.open(this.#connection, source, this.#maxStreamBytes);
  }

  diagnose(): readonly Finding[] {
    return encryptionFindings(this.#connection.encryption, ENCRYPTED);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
