import { Mutex } from "../../core/mutex.ts";
import type { Session } from "./connection.ts";
import { loadLayouts, type StoredLayout, storeDefinition } from "./layouts.ts";
import { assertNotMadeAnew, timesOf } from "./made.ts";
import type { TriggerPlan } from "./trigger-statements.ts";
import { type FoundTrigger, loadTriggers } from "./triggers.ts";

/**
 * Makes triggers anew of which it is noted when they were made. Tables may be waited for meanwhile, for long: a dump that
 * is loaded before the turn of its table, or after it, is found out by the note. And who fails half way must not take his
 * own trigger for another's: so the note is taken back for as long as that one is being made, and no longer.
 */
export class Renewal {
  /** Of a trigger: when it was made, and the layouts that note it. */
  readonly #noted = new Map<string, { at: string; readonly ids: number[] }>();
  /** Sessions work side by side, and a layout may note what several of them make. */
  readonly #notes = new Mutex();

  /** `installed`: of each table the last layout whose triggers stood. `on`: see madeOn. */
  constructor(installed: readonly StoredLayout[], due: ReadonlySet<string>, on: string) {
    for (const { id, made } of installed) {
      if (made?.on !== on) continue;
      for (const [name, at] of Object.entries(made.at)) {
        if (!due.has(name)) continue;
        const noted = this.#noted.get(name);
        if (noted === undefined) this.#noted.set(name, { at, ids: [id] });
        else noted.ids.push(id);
      }
    }
  }

  /** `work` makes the trigger. Throws TM-CAPTURE-BROKEN where another has made it since it was noted. */
  async making(
    session: Session,
    { name, table }: Pick<TriggerPlan, "name" | "table">,
    work: () => Promise<void>,
  ): Promise<void> {
    const noted = this.#noted.get(name);
    if (noted === undefined) return await work();
    const before = await loadTriggers(session, [table]);
    assertNotMadeAnew(await loadLayouts(session, noted.ids), before, null);
    await this.#note(session, name, noted.ids, undefined);
    const standing = async () => timesOf(await loadTriggers(session, [table])).get(name);
    try {
      await work();
    } catch (error) {
      // Often a transaction holds the table, and nothing was made. Without the note no more is known than that.
      const now = await standing().catch(() => undefined);
      if (now === noted.at) await this.#note(session, name, noted.ids, now).catch(() => {});
      throw error;
    }
    const now = await standing();
    await this.#note(session, name, noted.ids, now);
    noted.at = now ?? noted.at;
  }

  /** Throws TM-CAPTURE-BROKEN. `found`: as they stand once all are made. */
  async assertKept(session: Session, found: readonly FoundTrigger[]): Promise<void> {
    const ids = new Set([...this.#noted.values()].flatMap((each) => each.ids));
    const layouts = ids.size === 0 ? [] : await loadLayouts(session);
    assertNotMadeAnew(
      layouts.filter(({ id }) => ids.has(id)),
      found,
      null,
    );
  }

  #note(
    session: Session,
    name: string,
    ids: readonly number[],
    at: string | undefined,
  ): Promise<void> {
    return this.#notes.run(async () => {
      for (const layout of await loadLayouts(session, ids)) {
        if (layout.made === undefined) continue;
        const { [name]: _, ...others } = layout.made.at;
        const made = { ...layout.made, at: at === undefined ? others : { ...others, [name]: at } };
        await storeDefinition(session, { ...layout, made });
      }
    });
  }
}
