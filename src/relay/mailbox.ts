import { type Bell, backoff, sleep } from "../core/async.ts";
import {
  type FenceDocument,
  keys,
  lastSegment,
  NOT_ASKED,
  type Notice,
  type RequestDocument,
} from "../core/documents.ts";
import type { Logger } from "../core/log.ts";
import type { DocumentEntry, Documents } from "../core/queue.ts";
import { RetryLog } from "../core/retry-log.ts";

/**
 * What comes back to the relay over the queue: fences, requests, confirmations. Watches the
 * documents and keeps the newest of each; rings the relay's bell when there is something to do.
 */
export class Mailbox {
  readonly #documents: Documents;
  readonly #source: string;
  readonly #bell: Bell;
  readonly #fences = new Map<string, FenceDocument>();
  readonly #requests = new Map<string, RequestDocument | null>();
  /** Syncs whose request was not taken since it last changed. */
  readonly #news = new Set<string>();
  readonly #progress = new Map<string, Notice>();

  constructor(documents: Documents, source: string, bell: Bell) {
    this.#documents = documents;
    this.#source = source;
    this.#bell = bell;
  }

  /** Follows the documents until the signal aborts, through losses of the queue. */
  async run(syncs: readonly string[], logger: Logger, signal: AbortSignal): Promise<void> {
    const follow = async (prefix: string, take: (entry: DocumentEntry) => void) => {
      const log = new RetryLog(logger, "lost sight of the queue's documents");
      for (let attempt = 0; !signal.aborted; attempt++) {
        try {
          for await (const entry of this.#documents.watch(prefix, signal)) {
            attempt = 0;
            log.succeeded();
            take(entry);
          }
        } catch (error) {
          log.failed(error);
        }
        await sleep(backoff(attempt), signal);
      }
    };
    await Promise.all([
      follow(keys.fences(this.#source), (entry) => this.#takeFence(entry)),
      follow(keys.requests(this.#source), (entry) => this.#takeRequest(entry)),
      ...syncs.map((sync) => follow(keys.progress(sync), (entry) => this.#takeProgress(entry))),
    ]);
  }

  /** Open questions, oldest first; they stay until {@link answered}. */
  fences(): ReadonlyMap<string, FenceDocument> {
    return new Map(this.#fences);
  }

  async answer(id: string, fence: FenceDocument): Promise<void> {
    await this.#documents.put(keys.fence(this.#source, id), fence);
    this.#fences.delete(id);
  }

  /** Requests changed since {@link takeRequests}. */
  newRequests(): ReadonlyMap<string, RequestDocument | null> {
    return new Map([...this.#news].map((sync) => [sync, this.#requests.get(sync) ?? null]));
  }

  /** Requests changed since the last call. */
  takeRequests(): ReadonlyMap<string, RequestDocument | null> {
    const taken = this.newRequests();
    this.#news.clear();
    return taken;
  }

  /** Whoever begins anew has taken nothing yet: an unchanged request is not told a second time by the queue. */
  rewind(): void {
    for (const sync of this.#requests.keys()) this.#news.add(sync);
  }

  /** What each sync has told by now. */
  notices(): ReadonlyMap<string, Notice> {
    return new Map(this.#progress);
  }

  progressOf(sync: string): Notice | undefined {
    return this.#progress.get(sync);
  }

  #takeFence({ key, value }: DocumentEntry): void {
    const id = lastSegment(key);
    const fence = value as FenceDocument | null;
    if (fence === null || fence.answer !== null) {
      this.#fences.delete(id);
    } else {
      this.#fences.set(id, { ...NOT_ASKED, ...fence });
      this.#bell.ring();
    }
  }

  #takeRequest({ key, value }: DocumentEntry): void {
    const sync = lastSegment(key);
    this.#requests.set(sync, value as RequestDocument | null);
    this.#news.add(sync);
    this.#bell.ring();
  }

  #takeProgress({ value }: DocumentEntry): void {
    if (value === null) return;
    const notice = value as Notice;
    this.#progress.set(notice.sync, notice);
  }
}
