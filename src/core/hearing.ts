import type { SourceStatus, SyncStatus } from "./documents.ts";
import { HEARD_WITHIN_MS } from "./pace.ts";
import type { Documents } from "./queue.ts";

/** Of its own words that many are known again: they are written in the background. */
const OWN = 32;

/**
 * Is somebody else at work? For a worker that cannot look who has the lease: what it tells meanwhile would stand in place of what
 * the one tells that does the work.
 */
export class Hearing {
  readonly #documents: Documents;
  readonly #key: string;
  #own: readonly string[] = [];
  #heardAt: string | null = null;
  #since = 0;

  /** `key`: of the status that is told. */
  constructor(documents: Documents, key: string) {
    this.#documents = documents;
    this.#key = key;
  }

  /** To be called with each sign of life of one's own. */
  told(heartbeatAt: string): void {
    this.#own = [...this.#own.slice(1 - OWN), heartbeatAt];
  }

  /** Else what is heard may be the last word of who was killed before this one began. */
  get hasTold(): boolean {
    return this.#own.length > 0;
  }

  /** One that was killed has said just as well that it works: it is heard until it has been silent for long enough. */
  async isOther(): Promise<boolean> {
    const status = (await this.#documents.get(this.#key).catch(() => null)) as
      | SourceStatus
      | SyncStatus
      | null;
    const { state = "unknown", heartbeatAt = null } = status ?? {};
    const isAtWork = state === "running" || state === "copying";
    if (!isAtWork || heartbeatAt === null || this.#own.includes(heartbeatAt)) return false;
    if (heartbeatAt !== this.#heardAt) {
      this.#heardAt = heartbeatAt;
      this.#since = performance.now();
    }
    return performance.now() - this.#since < HEARD_WITHIN_MS;
  }
}
