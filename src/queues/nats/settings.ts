import type { StreamConfig, StreamInfo } from "@nats-io/jetstream";
import { TidemarkError } from "../../core/errors.ts";
import type { QueueConnection } from "./connection.ts";
import { inNoCluster, isNameInUse, isStreamNotFound, toQueueError } from "./errors.ts";

export type StreamSettings = Partial<StreamConfig> & { readonly name: string };

/** The stream as it stands; made when it is not there. */
export async function ensureStream(
  connection: QueueConnection,
  settings: StreamSettings,
): Promise<StreamInfo> {
  const { name } = settings;
  const info = await connection.call(name, async ({ manager, ask }) => {
    try {
      return await ask(() => manager.streams.info(name));
    } catch (error) {
      if (!isStreamNotFound(error)) throw error;
    }
    try {
      return await manager.streams.add(settings);
    } catch (error) {
      // Another process was first, with another bound perhaps.
      if (isNameInUse(error)) return ask(() => manager.streams.info(name));
      const coded = toQueueError(error, name);
      if (coded.code !== "TM-QUEUE-FULL") throw coded;
      throw connection.granted.has(name) ? noRoomNow(settings, coded) : noRoom(settings, coded);
    }
  });
  connection.granted.add(name);
  assertSafe(info, settings);
  return raiseCopies(connection, info, settings);
}

/** Never lowers them: another process may have been started with more. */
async function raiseCopies(
  connection: QueueConnection,
  info: StreamInfo,
  { name, num_replicas = 1 }: StreamSettings,
): Promise<StreamInfo> {
  if (info.config.num_replicas >= num_replicas) return info;
  return connection.call(name, ({ connection: { info: server }, manager }) => {
    // It would say that it keeps them, and keep one (seen with 2.9).
    if (server?.cluster === undefined) throw inNoCluster(name);
    return manager.streams.update(name, { num_replicas });
  });
}

/**
 * Brings the bound to so many bytes, or to what is stored where that is more: below it the server would
 * remove the oldest messages, whether or not anybody has read them. False when it is still too high.
 */
export async function updateBound(
  connection: QueueConnection,
  { config, state }: StreamInfo,
  maxBytes: number,
): Promise<boolean> {
  const bound = Math.max(maxBytes, state.bytes);
  if (config.max_bytes !== bound) {
    await connection.call(config.name, ({ manager }) =>
      manager.streams.update(config.name, { max_bytes: bound }),
    );
  }
  return bound === maxBytes;
}

/**
 * Removes a stream whose files the server has lost, to be made anew by the next question; what it
 * held is sent again from the change log. A server may take the files away when a stream is made
 * while one of the same name is still being deleted (seen with 2.9), and never recovers from it.
 */
export async function removeBroken(connection: QueueConnection, name: string): Promise<void> {
  connection.logger.warn({ stream: name }, "NATS has lost files of the stream: making it anew");
  await connection.call(name, ({ manager }) => manager.streams.delete(name));
}

/** Does a stream that refuses to store `bytes` more, and yet is far from its bound, lack its files? */
export async function isBroken(
  connection: QueueConnection,
  { name }: StreamSettings,
  bytes: number,
): Promise<boolean> {
  const { config, state } = await connection.call(name, ({ manager, ask }) =>
    ask(() => manager.streams.info(name)),
  );
  return config.max_bytes <= 0 || state.bytes + bytes < config.max_bytes / 2;
}

/**
 * Throws TM-QUEUE-UNSAFE for settings that lose messages in silence, take others or none, or keep us from trimming. Ours has
 * none; one made by hand may.
 */
export function assertSafe({ config }: StreamInfo, { subjects }: StreamSettings): void {
  const reasons: string[] = [];
  const bounded = config.max_bytes > 0 || config.max_msgs > 0;
  if (config.storage !== "file") reasons.push("storage is not file");
  if (config.retention !== "limits") reasons.push("retention is not limits");
  if (config.max_age > 0) reasons.push("max_age removes messages");
  if (config.discard !== "new" && bounded) reasons.push("discard is not new");
  if (config.deny_purge) reasons.push("deny_purge is set");
  if (config.no_ack === true) reasons.push("no_ack is set");
  const isBucket = config.name.startsWith("KV_");
  if (config.max_msgs_per_subject > 0 && !isBucket) reasons.push("max_msgs_per_subject is set");
  if (config.sealed) reasons.push("it is sealed");
  // One that mirrors another has none.
  if (`${config.subjects ?? []}` !== `${subjects}`) reasons.push(`its subject is not ${subjects}`);
  if (reasons.length === 0) return;
  throw new TidemarkError(
    "TM-QUEUE-UNSAFE",
    `The NATS stream ${config.name} breaks the queue's contract: ${reasons.join(", ")}.`,
    {
      fix: `Stop Tidemark and delete the stream (nats stream rm ${config.name}): it is made again, and what targets need is sent again.`,
      details: { stream: config.name, reasons },
    },
  );
}

/** The stream of the documents has no bound. */
function reserved({ max_bytes }: StreamSettings): string {
  return max_bytes === undefined ? "" : ` with ${max_bytes} bytes reserved`;
}

function noRoom(settings: StreamSettings, cause: TidemarkError): TidemarkError {
  return new TidemarkError(
    "TM-QUEUE-LIMIT",
    `NATS has no room for the stream ${settings.name}${reserved(settings)}.`,
    {
      fix: "Lower `queue.maxSize`, or raise max_file_store of the server (or the account's limit). Where it has none set, it takes three quarters of what was free on its disk when it started.",
      cause,
      details: { stream: settings.name },
    },
  );
}

/** It has had that room while we were connected, so it may have it again: to be waited for, as a full stream is. */
function noRoomNow(settings: StreamSettings, cause: TidemarkError): TidemarkError {
  const { name } = settings;
  return new TidemarkError(
    "TM-QUEUE-FULL",
    `NATS has lost the stream ${name}, and has no room at present to make it anew${reserved(settings)}.`,
    {
      fix: "Restart nats-server: version 2.9 may go on counting what it lost in a power cut. Else raise max_file_store, or remove streams that nobody needs. It is tried again until there is room.",
      cause,
      details: { stream: name },
    },
  );
}
