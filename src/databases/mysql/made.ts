import { captureBroken } from "./capture-broken.ts";
import type { Session } from "./connection.ts";
import type { StoredLayout } from "./layouts.ts";
import { LOG } from "./ours.ts";
import { type FoundTrigger, triggerNames } from "./triggers.ts";

/**
 * A dump of a table carries our triggers and makes them again, alike, after its rows: what it took away and brought is in
 * no log. But the server keeps when each was made, also when the table is rebuilt or renamed: so that is noted when
 * capture is installed, and compared.
 */
export interface Made {
  /** See {@link madeOn}. */
  readonly on: string;
  /** By trigger. */
  readonly at: Readonly<Record<string, string>>;
}

/**
 * What is noted counts on this server, and as long as the log itself is not made anew: a dump of the whole database takes
 * that along, and whether changes are missing is then seen by the log.
 */
export async function madeOn(session: Session): Promise<string> {
  const on = await session.value(
    `SELECT CONCAT_WS('/', ${session.flavour.identity}, CREATE_TIME) FROM information_schema.TABLES
     WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = '${LOG}'`,
  );
  return on ?? "";
}

/** Those of these layouts of which a trigger was made anew by another. `on`: null where that is known to be the same. */
export function madeAnew(
  layouts: readonly StoredLayout[],
  found: readonly FoundTrigger[],
  on: string | null,
): StoredLayout[] {
  const noting = layouts.filter(({ made }) => made !== undefined && (on ?? made.on) === made.on);
  if (noting.length === 0) return [];
  const now = timesOf(found);
  return noting.filter(({ made }) =>
    Object.entries(made?.at ?? {}).some(([name, at]) => (now.get(name) ?? at) !== at),
  );
}

/** Throws TM-CAPTURE-BROKEN. */
export function assertNotMadeAnew(...looked: Parameters<typeof madeAnew>): void {
  const [first, ...others] = madeAnew(...looked);
  if (first !== undefined) throw captureBroken(first, MADE_ANEW, others);
}

/** For people. */
export const MADE_ANEW =
  "triggers of ours were dropped and made again, as by a dump that is loaded, or pt-online-schema-change";

/** `now`: see {@link timesOf}. What is to be noted; undefined where it is. What is noted already stands: it may have been made anew since we looked. */
export function madeOf(
  layout: StoredLayout,
  now: ReadonlyMap<string, string>,
  on: string,
): Made | undefined {
  const { made, triggers } = layout;
  const known = made?.on === on && triggers !== null ? made.at : {};
  const at: Record<string, string> = {};
  for (const name of triggerNames(layout)) {
    const when = known[name] ?? now.get(name);
    if (when !== undefined) at[name] = when;
  }
  const noted = { on, at };
  return JSON.stringify(noted) === JSON.stringify(made) ? undefined : noted;
}

/** When each was made. Of one that is hidden it is not told. */
export function timesOf(found: readonly FoundTrigger[]): ReadonlyMap<string, string> {
  const told = found.filter(({ definer, created }) => definer !== "" && created !== "");
  return new Map(told.map(({ name, created }) => [name, created]));
}
