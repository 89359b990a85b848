import type { Cell, Session } from "./connection.ts";
import { definingStatement, type StoredLayout } from "./layouts.ts";
import { assertNotMadeAnew, timesOf } from "./made.ts";
import type { TriggerPlan } from "./trigger-statements.ts";
import { type FoundTrigger, foundTriggers, loadTriggers, triggersQuery } from "./triggers.ts";

/** Makes a trigger, with these statements before and after, in one way to the server; gives the answers to all. */
type Work = (
  before: readonly string[],
  after: readonly string[],
) => Promise<readonly (readonly Cell[][])[]>;

/**
 * Makes triggers anew of which it is noted when they were made. Tables may be waited for meanwhile, for long: a dump that
 * is loaded before the turn of its table, or after it, is found out by the note. And who fails half way must not take his
 * own trigger for another's: so the note is taken back before that one is made, and written again along with what is made
 * next. Of many tables none must take a way to the server of its own for this; so the notes are kept here, as they stand.
 */
export class Renewal {
  readonly #layouts = new Map<number, StoredLayout>();
  /** Of a trigger: the layouts that note it. */
  readonly #noting = new Map<string, number[]>();
  /** Those of which the notes are still to be written. */
  readonly #unwritten = new Set<number>();

  /** `installed`: of each table the last layout whose triggers stood. `on`: see madeOn. */
  constructor(installed: readonly StoredLayout[], due: ReadonlySet<string>, on: string) {
    for (const layout of installed) {
      if (layout.made?.on !== on) continue;
      for (const name of Object.keys(layout.made.at).filter((each) => due.has(each))) {
        this.#layouts.set(layout.id, layout);
        this.#noting.set(name, [...(this.#noting.get(name) ?? []), layout.id]);
      }
    }
  }

  /** Is it noted when it was made? Such triggers are made one after the other. */
  renews({ name }: Pick<TriggerPlan, "name">): boolean {
    return this.#noting.has(name);
  }

  /** A layout is now stored so. */
  stored(layout: StoredLayout): void {
    if (this.#layouts.has(layout.id)) this.#layouts.set(layout.id, layout);
  }

  /** `work` makes the trigger. Throws TM-CAPTURE-BROKEN where another has made it since it was noted, or one beside it. */
  async making(
    session: Session,
    { name, table }: Pick<TriggerPlan, "name" | "table">,
    work: Work,
  ): Promise<void> {
    const ids = this.#noting.get(name);
    if (ids === undefined) {
      await work([], []);
      return;
    }
    const before = this.#of(ids);
    this.#note(name, undefined);
    const look = triggersQuery([table]);
    const writing = [...this.#unwritten];
    let answers: Awaited<ReturnType<Work>>;
    try {
      answers = await work([look, ...this.#of(writing).map(definingStatement)], [look]);
    } catch (error) {
      // Often a transaction holds the table, and nothing was made. Without the note no more is known than that.
      const stands = await loadTriggers(session, [table]).catch(() => []);
      const now = timesOf(stands).get(name);
      if (before.some(({ made }) => made?.at[name] === now)) this.#note(name, now);
      await this.#write(session).catch(() => {});
      throw error;
    }
    for (const id of writing) this.#unwritten.delete(id);
    try {
      assertNotMadeAnew(before, foundTriggers(answers[0] ?? []), null);
    } catch (error) {
      // As it was: the next start is to find it out as well.
      for (const layout of before) this.#keep(layout);
      await this.#write(session);
      throw error;
    }
    const found = foundTriggers(answers.at(-1) ?? []);
    this.#note(name, timesOf(found).get(name));
    assertNotMadeAnew(this.#of(ids), found, null);
  }

  /** Throws TM-CAPTURE-BROKEN. `found`: as they stand once all are made. */
  assertKept(found: readonly FoundTrigger[]): void {
    assertNotMadeAnew([...this.#layouts.values()], found, null);
  }

  #of(ids: readonly number[]): StoredLayout[] {
    return ids.flatMap((id) => this.#layouts.get(id) ?? []);
  }

  #keep(layout: StoredLayout): void {
    this.#layouts.set(layout.id, layout);
    this.#unwritten.add(layout.id);
  }

  #note(name: string, at: string | undefined): void {
    for (const layout of this.#of(this.#noting.get(name) ?? [])) {
      if (layout.made === undefined) continue;
      const { [name]: _, ...others } = layout.made.at;
      const made = { ...layout.made, at: at === undefined ? others : { ...others, [name]: at } };
      this.#keep({ ...layout, made });
    }
  }

  async #write(session: Session): Promise<void> {
    await session.flight(this.#of([...this.#unwritten]).map(definingStatement));
    this.#unwritten.clear();
  }
}
