import type { QueueAdapter } from "../../core/queue.ts";

/** NATS JetStream: one stream on file storage per source, documents in a key-value bucket. */
export const nats: QueueAdapter = {
  kind: "nats",
  schemes: ["nats", "tls"],
  open: async (options) => (await import("./queue.ts")).NatsQueue.open(options),
};
