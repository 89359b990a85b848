import { join } from "node:path";
import { z } from "zod";
import type { PipelineDefinition } from "../core/definition.ts";
import { TidemarkError } from "../core/errors.ts";
import { sha256 } from "../core/hash.ts";
import { redactUrl } from "../core/secrets.ts";
import type { Environment } from "./environment.ts";
import { interpolate } from "./environment.ts";
import { DEFAULT_QUEUE_URL, normalise } from "./normalise.ts";
import { aText, checkOptions, names } from "./options.ts";
import { checkTopology } from "./topology.ts";
import { validate } from "./validate.ts";

/** One source and one target given on the command line instead of a config. */
export interface Pair {
  /** Connection URLs; `env:NAME` or `${NAME}` takes them from the environment. */
  readonly from: string;
  readonly to: string;
  /** Names or globs. */
  readonly tables: readonly string[];
  /** Names or globs of tables that the globs of `tables` leave out. */
  readonly except?: readonly string[];
  /** Default: an embedded queue of this pair's own under ./.tidemark. */
  readonly queue?: string;
}

const pairOptions = z.strictObject({
  from: aText,
  to: aText,
  tables: names,
  except: names.optional(),
  queue: aText.optional(),
});

/**
 * The definition of a pair: the databases are named `source` and `target`, the sync `source->target`. All pairs have
 * these names, so two of them in one folder may not share a queue.
 */
export function definePair(
  pair: Pair,
  folder: string = process.cwd(),
  environment: Environment = process.env,
): PipelineDefinition {
  checkOptions("definePair", pair, pairOptions);
  if (pair.tables.length === 0) {
    throw new TidemarkError("TM-USAGE", "No table is named.", {
      fix: "Add --table 'public.*' (quoted, so that the shell leaves the star alone), or --table NAME once per table.",
    });
  }
  const { tables, except } = pair;
  const sync = { from: "source", to: "target", tables, ...(except?.length ? { except } : {}) };
  const define = (queue: string) => {
    const value = {
      databases: { source: fromEnvironment(pair.from), target: fromEnvironment(pair.to) },
      queue,
      syncs: [sync],
    };
    const file = { path: join(folder, "command line"), value, where: () => "command line" };
    return normalise(file, validate(file, interpolate(file, environment)));
  };
  const given = define(fromEnvironment(pair.queue ?? DEFAULT_QUEUE_URL));
  checkTopology(given, "command line");
  return pair.queue === undefined ? define(ownQueueUrl(given)) : given;
}

/** The same however the files are named, and with another password. */
function ownQueueUrl({ databases }: PipelineDefinition): string {
  const urls = databases.map((database) => ("url" in database ? redactUrl(database.url) : ""));
  return `sqlite:./.tidemark/${sha256(...urls).slice(0, 8)}/queue.db`;
}

function fromEnvironment(url: string): string {
  const name = /^env:([A-Za-z_][A-Za-z0-9_]*)$/.exec(url)?.[1];
  return name === undefined ? url : `\${${name}}`;
}
