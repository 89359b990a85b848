import type { SourceStatus, SyncStatus } from "./documents.ts";
import type { TidemarkError } from "./errors.ts";
import { Hearing } from "./hearing.ts";
import type { Logger } from "./log.ts";
import type { Queue } from "./queue.ts";
import { RetryLog } from "./retry-log.ts";
import { statusError } from "./status-error.ts";

type Status = SourceStatus | SyncStatus;

/** For the log. */
export const UNPUBLISHED = "status could not be published";

/** The status of a relay or an applier that cannot begin yet, told over what the one before it has told. */
export class LateStatus {
  readonly #key: string;
  readonly #unknown: Status;
  readonly #queue: Queue;
  readonly #log: RetryLog;
  readonly #hearing: Hearing;

  /** `unknown`: of one that nobody has told of. */
  constructor(key: string, unknown: Status, queue: Queue, logger: Logger) {
    this.#key = key;
    this.#unknown = unknown;
    this.#queue = queue;
    this.#log = new RetryLog(logger, UNPUBLISHED);
    this.#hearing = new Hearing(queue.documents, key);
  }

  async tellUnlessOther(state: "running" | "stopped", error: TidemarkError): Promise<void> {
    if (!(await this.#hearing.isOther())) await this.tell(state, error);
  }

  async tell(state: "running" | "stopped", error: TidemarkError): Promise<void> {
    const { documents } = this.#queue;
    const heartbeatAt = new Date().toISOString();
    try {
      const told = ((await documents.get(this.#key)) as Status | null) ?? this.#unknown;
      this.#hearing.told(heartbeatAt);
      await documents.put(this.#key, { ...told, state, error: statusError(error), heartbeatAt });
      this.#log.succeeded();
    } catch (failure) {
      this.#log.failed(failure);
    }
  }
}
