import type { PipelineDefinition } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import { nearest } from "../core/suggest.ts";

export interface ShareOptions {
  /** What this process does; default `all`. */
  readonly role?: "all" | "relay" | "applier" | undefined;
  /** Only relays of these sources and appliers of these targets; default all. */
  readonly databases?: readonly string[] | undefined;
}

/** What of a pipeline one process does. */
export interface Share {
  /** Sources whose relays it runs. */
  readonly sources: ReadonlySet<string>;
  /** Targets whose appliers it runs. */
  readonly targets: ReadonlySet<string>;
  /** Names of the syncs that it brings to their targets; of relays alone, those that read from them. */
  readonly syncs: readonly string[];
}

/** Does a process of this role do that part? */
export function worksAs(
  { role = "all" }: Pick<ShareOptions, "role">,
  part: "relay" | "applier",
): boolean {
  return role === "all" || role === part;
}

const WORKS_ON = {
  all: { verb: "reads or writes", what: "Databases that syncs read or write" },
  relay: { verb: "reads from", what: "Sources, of which a relay can be run" },
  applier: { verb: "writes to", what: "Targets, of which an applier can be run" },
} as const;

/** One misspelt name among right ones: its part of the pipeline would be done by nobody, without a word. */
function refuseUnknown({ databases }: PipelineDefinition, asked: readonly string[]): void {
  const known = databases.map(({ name }) => name);
  const unknown = asked.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const guess = nearest(unknown, known);
  throw new TidemarkError("TM-USAGE", `No database of the config is named "${unknown}".`, {
    fix: guess === null ? `Known: ${known.join(", ")}.` : `Did you mean "${guess}"?`,
    details: { databases: asked },
  });
}

/** Throws TM-USAGE where nothing would be left to do: such a process would stand still for ever, without a word. */
export function shareOf(definition: PipelineDefinition, options: ShareOptions): Share {
  const { syncs } = definition;
  const { role = "all", databases } = options;
  refuseUnknown(definition, databases ?? []);
  const isMine = (name: string) => databases === undefined || databases.includes(name);
  const sources = new Set(role === "applier" ? [] : syncs.map(({ from }) => from));
  const targets = new Set(role === "relay" ? [] : syncs.map(({ to }) => to));
  const mySources = new Set([...sources].filter(isMine));
  const myTargets = new Set([...targets].filter(isMine));
  if (mySources.size + myTargets.size === 0) {
    const { verb, what } = WORKS_ON[role];
    const names = (databases ?? []).map((name) => `"${name}"`).join(" or ");
    throw new TidemarkError(
      "TM-USAGE",
      `This process would have nothing to do: no sync of the config ${verb} ${names}.`,
      {
        fix: `${what}: ${[...new Set([...sources, ...targets])].join(", ")}.`,
        details: { role, databases },
      },
    );
  }
  const mine = syncs.filter(({ from, to }) =>
    myTargets.size > 0 ? myTargets.has(to) : mySources.has(from),
  );
  return { sources: mySources, targets: myTargets, syncs: mine.map(({ name }) => name) };
}
