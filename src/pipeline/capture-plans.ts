import { TidemarkError } from "../core/errors.ts";
import type { CapturePlan, Source, SourceCapabilities } from "../core/source.ts";
import type { Ahead } from "./ahead.ts";
import type { PreparedSource } from "./prepare.ts";

export type SourcePlan = CapturePlan & Pick<SourceCapabilities, "truncate">;

/**
 * What capture of sources would still run, one after the other, found out while targets are asked. Who asks for it is told
 * what would make capture impossible; when nobody does, as the start is refused for something else, nothing is told.
 */
export class CapturePlans implements Disposable {
  readonly #ahead: Ahead;
  readonly #plans = new Map<string, Promise<SourcePlan>>();
  #last: Promise<unknown> = Promise.resolve();
  readonly #ending = new AbortController();
  #isAsking = false;
  #isOver = false;

  constructor(ahead: Ahead) {
    this.#ahead = ahead;
  }

  readonly begin = (sources: readonly PreparedSource[]): void => {
    for (const source of sources) {
      const plan = this.#last.then(() => this.#plan(source));
      plan.catch(() => {});
      this.#plans.set(source.name, plan);
      this.#last = plan;
    }
  };

  async of({ name }: PreparedSource): Promise<SourcePlan> {
    const plan = this.#plans.get(name);
    if (plan === undefined) throw new TidemarkError("TM-INTERNAL", "A source was not planned.");
    return plan;
  }

  /** No other source is asked after this; the one that is may not answer, and its session is ended. */
  [Symbol.dispose](): void {
    this.#isOver = true;
    if (this.#isAsking) this.#ending.abort();
  }

  async #plan({ name, capture }: PreparedSource): Promise<SourcePlan> {
    if (this.#isOver) throw new TidemarkError("TM-INTERNAL", "Nobody asks for this plan any more.");
    const { sources } = this.#ahead;
    const opening = sources.take(name, () => sources.open(name, this.#ending.signal));
    const planOf = async (source: Source): Promise<SourcePlan> => {
      const { truncate } = source.capabilities;
      return { ...(await source.planCapture(capture)), truncate };
    };
    this.#isAsking = true;
    try {
      return await sources.use(name, planOf, opening);
    } finally {
      this.#isAsking = false;
    }
  }
}
