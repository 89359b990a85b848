import type { PipelineDefinition } from "../core/definition.ts";
import { isTidemarkError, TidemarkError } from "../core/errors.ts";
import type { Logger } from "../core/log.ts";
import { shellWord } from "../core/shell.ts";
import { Databases, using } from "./connect.ts";

export interface Removal {
  readonly name: string;
  readonly statements: readonly string[];
}

/** What `uninstall` would run in each database of the definition. */
export function planUninstall(definition: PipelineDefinition, logger: Logger): Promise<Removal[]> {
  return removals(definition, logger, false);
}

/** Removes every trigger, function, table and schema of ours from each database. */
export function uninstall(definition: PipelineDefinition, logger: Logger): Promise<Removal[]> {
  return removals(definition, logger, true);
}

async function removals(
  definition: PipelineDefinition,
  logger: Logger,
  run: boolean,
): Promise<Removal[]> {
  const databases = new Databases(definition, logger);
  const done: Removal[] = [];
  for (const entry of definition.databases) {
    if (!("url" in entry)) continue;
    const { name } = entry;
    try {
      const statements = await using(databases.openCatalog(name), async (catalog) => {
        const planned = await catalog.planUninstall();
        if (run && planned.length > 0) await catalog.uninstall();
        return planned;
      });
      done.push({ name, statements });
    } catch (error) {
      throw isTidemarkError(error, "TM-CONNECT-FAILED")
        ? outOfReach(error, definition, name)
        : error;
    }
  }
  return done;
}

/** One that is gone for good must not keep the others. */
function outOfReach(
  error: TidemarkError,
  { databases }: PipelineDefinition,
  name: string,
): TidemarkError {
  const others = databases.filter((entry) => "url" in entry && entry.name !== name);
  if (others.length === 0) return error;
  const command = `tidemark uninstall --database ${others.map((entry) => shellWord(entry.name)).join(" ")}`;
  const fix = `${error.fix ?? "Make it reachable."} Or leave it out: ${command}`;
  return new TidemarkError(error.code, error.message, {
    cause: error,
    fix,
    details: error.details,
  });
}
