import type { DatabaseAdapter } from "../../core/database.ts";
import { DEFAULT_SCHEMA } from "./identifiers.ts";
import { KIND } from "./types.ts";

/** PostgreSQL 13 or later. Its parts are loaded when they are used. */
export const postgres: DatabaseAdapter = {
  kind: KIND,
  schemes: ["postgres", "postgresql"],
  defaultSchema: DEFAULT_SCHEMA,
  hasAddress: true,
  async openCatalog(options) {
    const { PostgresCatalog } = await import("./catalog.ts");
    const { Connection } = await import("./connection.ts");
    return new PostgresCatalog(await Connection.open(options, "catalog"), options.logger);
  },
  openSource: async (options) => (await import("./source.ts")).PostgresSource.open(options),
  openTarget: async (options) => (await import("./target.ts")).PostgresTarget.open(options),
};
