import { accessSync, constants, existsSync } from "node:fs";
import { dirname } from "node:path";
import type { Documents, Queue, QueueAdapter, QueueLimits, QueueStream } from "../../core/queue.ts";
import { QueueConnection } from "./connection.ts";
import { SqliteDocuments } from "./documents.ts";
import { toQueueError } from "./errors.ts";
import { fileOf } from "./location.ts";
import { MAX_MESSAGE_BYTES, SqliteStream } from "./stream.ts";

/** The embedded queue: one SQLite file, shared by all processes of one machine. Needs no server. */
export const sqliteQueue: QueueAdapter = {
  kind: "sqlite",
  schemes: ["sqlite"],
  exists: (url) => existsSync(fileOf(url)),
  checkMakeable(url) {
    const file = fileOf(url);
    let folder = dirname(file);
    while (!existsSync(folder)) folder = dirname(folder);
    try {
      // What is in it, so that a file is not taken for a folder.
      accessSync(`${folder}/.`, constants.W_OK | constants.X_OK);
    } catch (error) {
      throw toQueueError(error, file);
    }
  },
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
