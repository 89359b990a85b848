import { existsSync } from "node:fs";
import type { Documents, Queue, QueueAdapter, QueueLimits, QueueStream } from "../../core/queue.ts";
import { QueueConnection } from "./connection.ts";
import { SqliteDocuments } from "./documents.ts";
import { fileOf } from "./location.ts";
import { MAX_MESSAGE_BYTES, SqliteStream } from "./stream.ts";

/** The embedded queue: one SQLite file, shared by all processes of one machine. Needs no server. */
export const sqliteQueue: QueueAdapter = {
  kind: "sqlite",
  schemes: ["sqlite"],
  exists: (url) => existsSync(fileOf(url)),
  async open({ url, logger, maxStreamBytes }) {
    const connection = new QueueConnection(fileOf(url));
    logger.debug({ path: connection.path }, "queue file opened");
    return new SqliteQueue(connection, maxStreamBytes);
  },
};

class SqliteQueue implements Queue {
  readonly limits: QueueLimits = { maxMessageBytes: MAX_MESSAGE_BYTES };
  readonly documents: Documents;
  readonly #connection: QueueConnection;
  readonly #maxStreamBytes: number;

  constructor(connection: QueueConnection, maxStreamBytes: number) {
    this.#connection = connection;
    this.#maxStreamBytes = maxStreamBytes;
    this.documents = new SqliteDocuments(connection);
  }

  async openStream(source: string): Promise<QueueStream> {
    return new SqliteStream(this.#connection, source, this.#maxStreamBytes);
  }

  close(): Promise<void> {
    return this.#connection.close();
  }
}
