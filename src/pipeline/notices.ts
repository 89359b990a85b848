import { keys, type Notice } from "../core/documents.ts";
import type { Queue } from "../core/queue.ts";

/** The completion notices of syncs, as they come, from any process; first where each now stands. */
export async function* watchNotices(
  queue: Queue,
  syncs: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Notice> {
  const wanted = new Set(syncs);
  for await (const { value } of queue.documents.watch(keys.allProgress, signal)) {
    const notice = value as Notice | null;
    if (notice !== null && wanted.has(notice.sync)) yield notice;
  }
}
