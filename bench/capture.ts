// Capture alone, without anything that reads the log: what the source itself pays.
import type { DatabaseAdapter } from "../src/core/database.ts";
import { silentLogger } from "../src/core/log.ts";

/** Installs capture of all tables of a database. */
export async function installCapture(
  adapter: DatabaseAdapter,
  url: string,
  filters: readonly string[] = [],
): Promise<void> {
  const options = { name: "source", url, logger: silentLogger };
  const catalog = await adapter.openCatalog(options);
  const source = await adapter.openSource(options);
  try {
    const schemas = await catalog.describe(await catalog.listTables());
    const log = await source.openChangeLog();
    if (log === null) throw new Error("Another relay holds the source.");
    await log.capture(
      schemas.map((schema) => ({
        schema,
        columns: schema.columns.map(({ name }) => name),
        filters,
        takesNewColumns: true,
      })),
    );
    await log.close();
  } finally {
    await source.close();
    await catalog.close();
  }
}
