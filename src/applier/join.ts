import { failpoint } from "../core/failpoint.ts";
import { askFence } from "../core/fence.ts";
import type { ApplierSession, Progress } from "../core/target.ts";
import type { NoticeWriter } from "./notice-writer.ts";
import type { ApplierOptions } from "./options.ts";

/** What goes with the lease. */
interface Held {
  readonly session: ApplierSession;
  readonly notices: NoticeWriter;
}

/** Is there a table of which anything may have been copied? */
export function holdsCopies({ timeline, tables }: Progress): boolean {
  return timeline !== "" && tables.length > 0;
}

/**
 * A sync that never ran joins the stream where it now is; so does one that has had to forget all its tables, as after
 * another one has written them: it needs nothing of what came before, which the log may not have kept. Null when the
 * signal aborts before the relay answers.
 */
export async function joinStream(
  { sync, from, queue, logger }: ApplierOptions,
  { session, notices }: Held,
  { stored, signal }: { readonly stored: Progress; readonly signal: AbortSignal },
): Promise<Progress | null> {
  // A target made anew: what an earlier one had confirmed must not be taken for its own.
  await notices.clear();
  const answer = await askFence(queue.documents, from, { join: sync, signal });
  if (answer === null) return null;
  failpoint("sync-joined");
  const { timeline, batch, hash } = answer;
  // Chunks of it may have been read.
  if (timeline === stored.timeline && batch <= stored.position.batch) return stored;
  logger.info({ timeline, batch }, "joined the stream");
  const next = { timeline, position: { batch, chunk: 0 }, hash, tables: [] };
  const transaction = await session.begin(stored);
  await transaction.commit(next);
  return next;
}
