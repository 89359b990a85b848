import { join } from "node:path";
import type { PipelineDefinition } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import type { Environment } from "./environment.ts";
import { interpolate } from "./environment.ts";
import { DEFAULT_QUEUE_URL, normalise } from "./normalise.ts";
import { checkTopology } from "./topology.ts";
import { validate } from "./validate.ts";

/** One source and one target given on the command line instead of a config. */
export interface Pair {
  /** Connection URLs; `env:NAME` or `${NAME}` takes them from the environment. */
  readonly from: string;
  readonly to: string;
  /** Names or globs. */
  readonly tables: readonly string[];
  /** Default: the embedded queue under ./.tidemark. */
  readonly queue?: string;
}

/** The definition of a pair: the databases are named `source` and `target`, the sync `source->target`. */
export function definePair(
  pair: Pair,
  folder: string,
  environment: Environment,
): PipelineDefinition {
  const value = {
    databases: { source: fromEnvironment(pair.from), target: fromEnvironment(pair.to) },
    queue: fromEnvironment(pair.queue ?? DEFAULT_QUEUE_URL),
    syncs: [{ from: "source", to: "target", tables: [...pair.tables] }],
  };
  const file = { path: join(folder, "command line"), value, where: () => "command line" };
  if (pair.tables.length === 0) {
    throw new TidemarkError("TM-USAGE", "No table is named.", {
      fix: "Add --table 'public.*' (quoted, so that the shell leaves the star alone), or --table NAME once per table.",
    });
  }
  const definition = normalise(file, validate(file, interpolate(file, environment)));
  checkTopology(definition, "command line");
  return definition;
}

function fromEnvironment(url: string): string {
  const name = /^env:([A-Za-z_][A-Za-z0-9_]*)$/.exec(url)?.[1];
  return name === undefined ? url : `\${${name}}`;
}
