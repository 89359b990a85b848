// What is wrong with the capture of a table: changes have gone by unseen, or would.
import { TidemarkError } from "../../core/errors.ts";
import { Objections } from "../../core/many-tables.ts";
import { formatTable } from "../../core/table.ts";
import type { CaptureSpec } from "./capture-row.ts";
import { triggerNames } from "./capture-sql.ts";
import { captureBroken, shapeBroken } from "./drift.ts";
import { quoteTable } from "./identifiers.ts";
import { exchangedKey, fits, type StoredLayout, type TableState } from "./layouts.ts";
import { insufficient, isEnough, type ShapeChoice } from "./shape.ts";
import { wasTouched } from "./trigger-watch.ts";

export interface Broken {
  readonly what: string;
  /** The shape is not enough any more: nothing is missing, but what is logged may be wrong. */
  readonly shape: boolean;
}

/** Of a table that is to be captured. */
interface Installed {
  readonly spec: Pick<CaptureSpec, "table">;
  /** See ShapeChoice and TableState. */
  readonly subscribed: boolean;
  readonly owned: boolean;
  readonly broken: Broken | null;
}

/**
 * A table that was captured, and now lacks a trigger or is another table of the same name, has let
 * changes go by. Gives what is wrong; null when nothing is.
 */
export function whatBroke(
  last: StoredLayout | undefined,
  now: {
    readonly oid: string;
    readonly state: TableState | undefined;
    readonly touched: string | null;
    readonly revalued: string | null;
    readonly choice: ShapeChoice;
  },
): Broken | null {
  if (last === undefined || last.retired) return null;
  if (last.oid !== now.oid) return gone("the table was dropped and made anew");
  for (const trigger of triggerNames(last.shape)) {
    const found = now.state?.triggers.get(trigger);
    if (!found?.enabled) return gone(`trigger ${trigger} is ${found ? "disabled" : "gone"}`);
  }
  if (now.touched !== null) return gone(wasTouched(now.touched));
  const exchanged = exchangedKey(last, now.state?.columns ?? []);
  if (exchanged !== null) return gone(exchanged);
  // Columns that were altered have the table copied anew by themselves, also while no sync carried it.
  const isCopied = last.readUpTo !== null || !fits(last, now.state?.columns ?? []);
  if (now.revalued !== null && !isCopied) return gone(now.revalued);
  if (last.blind) return gone("rows have gone unseen while no sync carried it");
  if (isEnough(last.shape, now.choice.shape)) return null;
  return { what: insufficient(last.shape, now.choice), shape: true };
}

function gone(what: string): Broken {
  return { what, shape: false };
}

/** Installing broken capture again in silence would hide what went by. Throws TM-CAPTURE-BROKEN, TM-GRANT-MISSING. */
export function assertUnbroken(captures: readonly Installed[]): void {
  const objections = new Objections();
  for (const capture of captures) objections.try(() => assertOneUnbroken(capture));
  objections.end();
}

function assertOneUnbroken(capture: Installed): void {
  const { spec, broken } = capture;
  const silent = notFiring(capture);
  if (silent !== null) throw silent;
  if (broken === null) return;
  const table = formatTable(spec.table);
  if (broken.shape) throw shapeBroken(spec.table, broken.what);
  throw captureBroken(table, `Capture of ${table} is broken: ${broken.what}.`);
}

/** Null where the triggers fire, whoever writes the table. Rows of a subscription are sure to come. */
export function notFiring({ spec, subscribed, owned }: Installed): TidemarkError | null {
  if (!subscribed || owned) return null;
  const table = formatTable(spec.table);
  return new TidemarkError(
    "TM-GRANT-MISSING",
    `A subscription writes ${table}: such rows fire only triggers that the table's owner has told to.`,
    {
      fix: `GRANT <the owner of ${quoteTable(spec.table)}> TO <the role of the URL>; or sync it from the server that it comes from.`,
      details: { table },
    },
  );
}
