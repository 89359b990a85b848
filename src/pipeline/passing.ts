import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import { keys } from "../core/documents.ts";
import { type ErrorCode, isTidemarkError, type TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import { isOfRights } from "../core/slow-retry.ts";
import { type Databases, using } from "./connect.ts";
import type { PassBy, PassedSync } from "./prepare.ts";
import type { PreparedSync } from "./prepare-target.ts";
import { openStanding } from "./queue.ts";
import type { Share, ShareOptions } from "./share.ts";

/** What a target can come to be though the config is right: what is wrong with the config is never passed by. */
const AT_TARGET: readonly ErrorCode[] = [
  "TM-COLUMN-UNFIT",
  "TM-TABLE-MISSING",
  "TM-TABLE-UNSUPPORTED",
  "TM-TABLE-NO-KEY",
  "TM-TYPE-UNSUPPORTED",
  "TM-SERVER-UNSUPPORTED",
  "TM-GRANT-MISSING",
  "TM-AUTH-FAILED",
  "TM-CONNECT-FAILED",
  "TM-CONNECTION-LOST",
  "TM-DISK-FULL",
  "TM-READ-ONLY",
];

export type Passed = Pick<PassedSync, "definition" | "error">;

interface PassingOptions extends ShareOptions {
  readonly logger: Logger;
  readonly mustOpenAll?: boolean | undefined;
}

/** Which syncs a start passes by, so that one target does not keep the others from starting. */
export class Passing {
  readonly #definition: PipelineDefinition;
  readonly #databases: Databases;
  readonly #options: PassingOptions;
  readonly #told = new Set<string>();
  /** Where there is none yet, it is opened when it is needed. */
  queue: Queue | null = null;

  constructor(definition: PipelineDefinition, databases: Databases, options: PassingOptions) {
    this.#definition = definition;
    this.#databases = databases;
    this.#options = options;
  }

  /**
   * True of one that has worked before: its start is nobody's first try, and what it has yet to get is kept for it. A relay
   * alone passes by also what it cannot reach: whether that fits is for others to find out.
   */
  readonly ask: PassBy = async (sync, error, end) => {
    if (!(await this.#mayPass(sync, error, end))) return false;
    // Whoever works for a target tells of it with the sync's status.
    const isTold = this.#options.role !== "relay" && end === "target";
    if (!isTold && !this.#told.has(sync.name)) this.#tell(sync, error);
    return true;
  };

  async #mayPass(...[sync, error, end]: Parameters<PassBy>): Promise<boolean> {
    const { role, mustOpenAll = false } = this.#options;
    if (role === "relay" && error.code === "TM-CONNECT-FAILED") return true;
    if (end === "source" || !isTidemarkError(error, ...AT_TARGET)) return false;
    if (mustOpenAll && (error.retryable || isOfRights(error))) return false;
    return this.#hasWorked(sync);
  }

  #tell({ name: sync }: SyncDefinition, error: TidemarkError): void {
    this.#told.add(sync);
    const what =
      error.code === "TM-CONNECT-FAILED"
        ? "an end of this sync cannot be reached from here: whether they fit is for its applier to find out"
        : "the target of this sync does not fit: until it is mended its applier cannot start; its changes are kept for it";
    this.#options.logger.warn({ sync, err: error }, what);
  }

  async #hasWorked({ name, to }: SyncDefinition): Promise<boolean> {
    try {
      const copies = await using(this.#databases.openTarget(to, null), (target) =>
        target.copiesOf(name),
      );
      if (copies !== null) return copies.length > 0;
    } catch {
      // The very reason for being asked, mostly: the queue knows, too.
    }
    return (
      (await this.withQueue(
        async ({ documents }) => (await documents.get(keys.progress(name))) !== null,
      )) ?? false
    );
  }

  /** Null where there is none yet. */
  async withQueue<R>(use: (queue: Queue) => Promise<R>): Promise<R | null> {
    if (this.queue !== null) return use(this.queue);
    const opened = await openStanding(this.#definition.queue, this.#options.logger);
    return opened === null ? null : using(Promise.resolve(opened), use);
  }
}

/** A process that could work on nothing is to say so at once: throws what keeps its first sync from starting. */
export function refuseIfNoneIsLeft(
  { targets }: Share,
  syncs: readonly PreparedSync[],
  passed: readonly Passed[],
): void {
  const names = new Set(passed.map(({ definition }) => definition.name));
  const [first] = passed.filter(({ definition }) => targets.has(definition.to));
  const isLeft = syncs.some(
    ({ resolved: { definition } }) => targets.has(definition.to) && !names.has(definition.name),
  );
  if (first !== undefined && !isLeft) throw first.error;
}
