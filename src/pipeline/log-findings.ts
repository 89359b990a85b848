import type { Finding } from "../core/database.ts";
import type { PipelineDefinition } from "../core/definition.ts";
import { type Databases, using } from "./connect.ts";

/** Is the change log of a database read, and kept for those alone that read it? Nothing, where there is no log. */
export async function logFindings(
  database: string,
  { syncs }: PipelineDefinition,
  databases: Databases,
): Promise<readonly Finding[]> {
  const holders = await using(databases.openCatalog(database), (each) => each.logHolders());
  if (holders === null) return [];
  const readers = syncs.filter(({ from }) => from === database).map(({ name }) => name);
  if (readers.length === 0) {
    const isTarget = syncs.some(({ to }) => to === database);
    return [
      {
        check: "log-read",
        severity: "warning",
        message: `The changes of "${database}" are logged, and no sync of the config reads them: nobody purges its change log, which grows without a bound.`,
        fix: `If none will: tidemark uninstall --database ${database}${isTarget ? " (as a target it is then copied anew)" : ""}`,
      },
    ];
  }
  return holders
    .filter(({ sync }) => !readers.includes(sync))
    .map(({ sync, confirmed, release }) => ({
      check: "log-held",
      severity: "warning",
      message: `The change log is kept from batch ${confirmed + 1} on, up to retention.log, for "${sync}", a sync that the config does not have.`,
      fix: `If it will not come back, stop the relay and run: ${release};`,
    }));
}
