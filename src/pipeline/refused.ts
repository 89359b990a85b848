import { keys, type SourceStatus, type SyncStatus } from "../core/documents.ts";
import { toTidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import { statusError } from "../core/status-error.ts";
import type { Share } from "./share.ts";
import { isSilent } from "./status.ts";

/**
 * A start that was refused is told where a stop is told: else `status` would show that of long before, or none. Told for the
 * sources, which all their syncs stand still with; by an applier apart for its syncs. Of who is at work, or has never been,
 * nothing is told.
 */
export async function tellRefused(
  failure: unknown,
  { sources, syncs }: Share,
  { queue, logger }: { readonly queue: Queue; readonly logger: Logger },
): Promise<void> {
  const error = statusError(toTidemarkError(failure));
  const told = sources.size > 0 ? [...sources].map(keys.relay) : syncs.map(keys.applier);
  try {
    for (const key of told) {
      const { value, revision } = await queue.documents.read(key);
      const status = value as SourceStatus | SyncStatus | null;
      if (status === null || (status.state !== "stopped" && !isSilent(status, Date.now())))
        continue;
      const heartbeatAt = new Date().toISOString();
      const refused = { ...status, state: "stopped", error, heartbeatAt };
      await queue.documents.replace(key, refused, revision);
    }
  } catch (second) {
    logger.warn({ err: second }, "that the start was refused could not be told");
  }
}
