import type { SyncDefinition } from "../core/definition.ts";

/**
 * Syncs in levels: those of a level read only databases that syncs of earlier levels (or nobody)
 * write. The config has refused loops; what is left in one would come last.
 */
export function levelsOf(syncs: readonly SyncDefinition[]): SyncDefinition[][] {
  const levels: SyncDefinition[][] = [];
  let rest = [...syncs];
  while (rest.length > 0) {
    const written = new Set(rest.map(({ to }) => to));
    const level = rest.filter(({ from }) => !written.has(from));
    const next = level.length > 0 ? level : rest;
    levels.push(next);
    rest = rest.filter((sync) => !next.includes(sync));
  }
  return levels;
}
