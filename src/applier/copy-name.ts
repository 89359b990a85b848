import { randomUUID } from "node:crypto";
import { formatTable, type TableName } from "../core/table.ts";
import type { TableProgress } from "../core/target.ts";

/** What a table was copied as, told by the name of its copy. */
export interface CopiedAs {
  /** Of the table as the sync wanted it: see SyncTable. */
  readonly fingerprint: string;
  /** The target's table, as formatTable gives it; null of copies that an earlier version named. */
  readonly target: string | null;
  /** See ApplierSession.markOf; absent where the target has none, and of copies that an earlier version named. */
  readonly mark?: string | undefined;
}

/**
 * The identity of a new copy. What is copied and where to stands in it, so that both are stored with no field of
 * their own: the tables that keep progress are as they were, and a role that may not alter them need not.
 */
export function nameCopy({ fingerprint, target, mark }: CopiedAs): string {
  const bare = `${randomUUID()}:${fingerprint}`;
  const name = mark === undefined ? bare : withMark(bare, mark);
  return target === null ? name : withTarget(name, target);
}

/** The same copy, with its table told. */
export function withTarget(copy: string, target: string): string {
  return `${copy}:${target}`;
}

/** The same copy, with what tells its table from another that takes its place. */
export function withMark(copy: string, mark: string): string {
  return withoutMark(copy).replace(":", `@${mark}:`);
}

function withoutMark(copy: string): string {
  return copy.replace(/^([^:@]*)@[^:]*/, "$1");
}

export function copiedAs(copy: string): CopiedAs {
  const [, mark, fingerprint = "", target] =
    /^[^:@]*(?:@([^:]*))?:([^:]*)(?::(.*))?$/s.exec(copy) ?? [];
  return { fingerprint, target: target ?? null, ...(mark !== undefined && { mark }) };
}

/**
 * Has another table taken the place of the one that was copied into? Where progress is kept elsewhere now, both came
 * from a backup, or moved, together.
 */
export function isReplaced(copied: string | undefined, now: string | undefined): boolean {
  if (copied === undefined || now === undefined) return false;
  const [keptThen, tableThen] = copied.split("/");
  const [kept, table] = now.split("/");
  return kept === keptThen && table !== tableThen;
}

/**
 * Which of these have gone into one of those tables of the target. One that does not tell its table is taken to have gone
 * to one of the name that it has at the source.
 */
export function goneInto<T extends Pick<TableProgress, "table" | "copy">>(
  copies: readonly T[],
  targets: readonly TableName[],
): readonly T[] {
  const [whole, bare] = [
    new Set(targets.map(formatTable)),
    new Set(targets.map(({ name }) => name)),
  ];
  return copies.filter(({ table, copy }) => {
    const { target } = copiedAs(copy);
    return target === null ? bare.has(table.slice(table.indexOf(".") + 1)) : whole.has(target);
  });
}

/** Is it the one that is stored, whether or not its table was told then? */
export function isSameCopy(stored: string | undefined, copy: string): boolean {
  if (stored === undefined) return false;
  const [before, now] = [withoutMark(stored), withoutMark(copy)];
  return now === before || now.startsWith(`${before}:`);
}
