import { keys, type Notice } from "../core/documents.ts";
import type { Queue } from "../core/queue.ts";

/**
 * The completion notices of syncs, as they come, from any process; first where each now stands. An applier writes its last
 * one again every so often, for a queue that has lost it, and one that has just begun does with the time of that: no news.
 */
export async function* watchNotices(
  queue: Queue,
  syncs: readonly string[],
  signal: AbortSignal,
): AsyncGenerator<Notice> {
  const wanted = new Set(syncs);
  const told = new Map<string, string>();
  for await (const { key, value } of queue.documents.watch(keys.allProgress, signal)) {
    const notice = value as Notice | null;
    const text = JSON.stringify(notice && { ...notice, at: "", lagMs: 0 });
    const isNews = told.get(key) !== text;
    told.set(key, text);
    if (isNews && notice !== null && wanted.has(notice.sync)) yield notice;
  }
}
