import { expect } from "vitest";
import { type ColumnType, describeType } from "../core/column-type.ts";
import type {
  ApplierSession,
  BoundTable,
  Progress,
  Target,
  TargetColumn,
  TargetPlan,
  TargetTable,
  TargetTransaction,
} from "../core/target.ts";
import type { Row } from "../core/value.ts";
import type { Bench, SqlSession } from "./database-bed.ts";
import { sorted } from "./replica.ts";

export const SYNC = "here->there";
export const INTEGER: ColumnType = { kind: "integer", bits: 64 };
export const TEXT: ColumnType = { kind: "text" };

export function column(name: string, type: ColumnType, nullable = true): TargetColumn {
  return { name, type, nativeType: describeType(type), sourceKind: "elsewhere", nullable };
}

export function items(bench: Bench, name = "items"): TargetTable {
  return {
    name: bench.name(name),
    columns: [column("id", INTEGER, false), column("name", TEXT), column("qty", INTEGER)],
    key: ["id"],
  };
}

/** A prepared target with one session. */
export interface Site {
  readonly sql: SqlSession;
  readonly target: Target;
  readonly plan: TargetPlan;
  readonly tables: readonly BoundTable[];
  /** The first table of the plan. */
  readonly table: BoundTable;
  readonly session: ApplierSession;
}

export async function openSite(bench: Bench, tables: readonly TargetTable[]): Promise<Site> {
  const target = await bench.target();
  const plan = await target.plan(tables);
  expect(plan.mappings.filter(({ fidelity }) => fidelity === "refused")).toEqual([]);
  await target.prepare(plan);
  const session = await openSession(bench, target, plan.tables);
  const sql = await bench.sql();
  return { sql, target, plan, tables: plan.tables, table: first(plan.tables), session };
}

export async function openSession(
  bench: Bench,
  target: Target,
  tables: readonly BoundTable[],
  sync = SYNC,
): Promise<ApplierSession> {
  const session = await target.openApplier(sync, tables);
  if (session === null) throw new ReferenceError("the lease of the sync is not free");
  return bench.keep(session);
}

/** After most errors a session is of no more use (contract). */
export async function reopen(
  bench: Bench,
  site: Site,
  session: ApplierSession,
): Promise<ApplierSession> {
  await session.close();
  return openSession(bench, site.target, site.tables);
}

export function first<T>(list: readonly T[]): T {
  const [item] = list;
  if (item === undefined) throw new ReferenceError("an empty list");
  return item;
}

export function tableOf(site: Site, name: string): BoundTable {
  return first(site.tables.filter((table) => table.name.name === name));
}

export function after(progress: Progress): Progress {
  const batch = progress.position.batch + 1;
  return {
    ...progress,
    timeline: "a timeline",
    position: { batch, chunk: 0 },
    hash: `hash ${batch}`,
  };
}

/** One whole transaction under one attempt, as the applier does it. */
export async function apply(
  session: ApplierSession,
  work: (transaction: TargetTransaction) => Promise<void>,
  options: { readonly relaxed?: boolean } = {},
): Promise<Progress> {
  const now = await session.load();
  const transaction = await session.begin(now, options);
  try {
    await transaction.attempt(() => work(transaction));
    await transaction.commit(after(now));
  } catch (error) {
    await transaction.rollback();
    throw error;
  }
  return after(now);
}

export async function itemRows(sql: SqlSession, table = "items"): Promise<readonly Row[]> {
  return sorted(await sql.rows(`SELECT id, name, qty FROM ${table}`));
}
