import type { PipelineDefinition, SyncDefinition } from "../core/definition.ts";
import { keys } from "../core/documents.ts";
import { type ErrorCode, isTidemarkError, type TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import type { Queue } from "../core/queue.ts";
import { isOfRights } from "../core/slow-retry.ts";
import { type Databases, using } from "./connect.ts";
import type { Lacks } from "./lacks.ts";
import type { PassBy, PassedSync, Prepared } from "./prepare.ts";
import { openStanding } from "./queue.ts";
import type { Share, ShareOptions } from "./share.ts";

/** What a target can come to be though the config is right: what is wrong with the config is never passed by. */
export const AT_TARGET: readonly ErrorCode[] = [
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

/** Which a relay that had begun would wait out. What is wrong with its tables decides what is captured, and is refused. */
const AT_SOURCE: readonly ErrorCode[] = [
  "TM-CONNECT-FAILED",
  "TM-CONNECTION-LOST",
  "TM-AUTH-FAILED",
  // Of an applier apart: the relay has not told of the tables.
  "TM-WAIT-TIMEOUT",
];

export type Passed = Pick<PassedSync, "definition" | "error">;

interface PassingOptions extends Pick<ShareOptions, "role"> {
  readonly share: Share;
  readonly logger: Logger;
  readonly mustOpenAll?: boolean | undefined;
}

/** Which syncs a start passes by, so that one database does not keep the others from starting. */
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
    // Whoever works for an end tells of it with a status.
    const isForOthers = this.#options.role === "relay" && this.#isElsewhere(sync, end);
    if (isForOthers && !this.#told.has(sync.name)) this.#tell(sync, error);
    return true;
  };

  /** Does another process ask for these rights, or has a sync that needs them worked before, so that they are waited for? */
  async mayWait({ end, syncs: names }: Pick<Lacks, "end" | "syncs">): Promise<boolean> {
    const syncs = this.#definition.syncs.filter(({ name }) => names.includes(name));
    if (syncs.every((sync) => this.#isElsewhere(sync, end))) return true;
    if (this.#options.mustOpenAll === true) return false;
    for (const sync of syncs) if (await this.#hasWorked(sync)) return true;
    return false;
  }

  async #mayPass(...[sync, error, end]: Parameters<PassBy>): Promise<boolean> {
    const { role, mustOpenAll = false } = this.#options;
    const isUnreached = error.code === "TM-CONNECT-FAILED";
    if (role === "relay" && isUnreached && this.#isElsewhere(sync, end)) return true;
    if (!isTidemarkError(error, ...(end === "source" ? AT_SOURCE : AT_TARGET))) return false;
    const isWaitedFor = end === "source" || error.retryable || isOfRights(error);
    if (mustOpenAll && isWaitedFor) return false;
    // Of a target that does not answer the queue is asked first: to try once more takes as long as it took to find that out.
    if (end === "target" && isUnreached && (await this.#hasProgress(sync))) return true;
    return this.#hasWorked(sync);
  }

  #isElsewhere({ from, to }: SyncDefinition, end: "source" | "target"): boolean {
    const { sources, targets } = this.#options.share;
    return end === "source" ? !sources.has(from) : !targets.has(to);
  }

  #tell({ name: sync }: SyncDefinition, error: TidemarkError): void {
    this.#told.add(sync);
    const what =
      error.code === "TM-CONNECT-FAILED"
        ? "an end of this sync cannot be reached from here: whether they fit is for its applier to find out"
        : "the target of this sync does not fit: until it is mended its applier cannot start; its changes are kept for it";
    this.#options.logger.warn({ sync, err: error }, what);
  }

  async #hasWorked(sync: SyncDefinition): Promise<boolean> {
    const { name, to } = sync;
    try {
      const copies = await using(this.#databases.openTarget(to, null), (target) =>
        target.copiesOf(name),
      );
      if (copies !== null) return copies.length > 0;
    } catch {
      // The very reason for being asked, mostly: the queue knows, too.
    }
    return this.#hasProgress(sync);
  }

  async #hasProgress({ name }: SyncDefinition): Promise<boolean> {
    const progress = keys.progress(name);
    const known = await this.withQueue(({ documents }) => documents.get(progress));
    return known !== null;
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
  share: Share,
  { sources, syncs, away }: Pick<Prepared, "sources" | "syncs" | "away">,
  targetsPassed: readonly Passed[],
): void {
  const { targets } = share;
  const passed = [
    ...targetsPassed,
    ...away.flatMap(({ syncs: readers, error }) =>
      readers.map((definition) => ({ definition, error })),
    ),
  ];
  if (targets.size === 0) {
    const [mine] = away.filter(({ name }) => share.sources.has(name));
    if (mine !== undefined && !sources.some(({ name }) => share.sources.has(name)))
      throw mine.error;
    return;
  }
  const names = new Set(passed.map(({ definition }) => definition.name));
  const [first] = passed.filter(({ definition }) => targets.has(definition.to));
  const isLeft = syncs.some(
    ({ resolved: { definition } }) => targets.has(definition.to) && !names.has(definition.name),
  );
  if (first !== undefined && !isLeft) throw first.error;
}
