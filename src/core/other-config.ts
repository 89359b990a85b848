import type { SyncDefinition } from "./definition.ts";
import type { SourceStatus, SyncStatus } from "./documents.ts";

/** Was the relay at work started with a config that does not have this sync? */
export function isOfOtherConfig(
  { name, from }: SyncStatus,
  sources: readonly SourceStatus[],
): boolean {
  const source = sources.find((each) => each.name === from);
  // What a relay that cannot begin has left there may be of the one before it; one of an earlier version tells none.
  if (source?.state !== "running" || source.error !== null) return false;
  const { syncs = [] } = source;
  return syncs.length > 0 && !syncs.includes(name);
}

/** What is said of such a sync. */
export function lacking({ name, from }: Pick<SyncDefinition, "name" | "from">): string {
  return `the relay of "${from}" that is at work was started with another config, which does not have ${name}`;
}
