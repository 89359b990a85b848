import type { DatabaseAdapter } from "../../core/database.ts";
import { PostgresCatalog } from "./catalog.ts";
import { Connection } from "./connection.ts";
import { DEFAULT_SCHEMA } from "./identifiers.ts";
import { PostgresSource } from "./source.ts";
import { PostgresTarget } from "./target.ts";
import { KIND } from "./types.ts";

export const postgres: DatabaseAdapter = {
  kind: KIND,
  schemes: ["postgres", "postgresql"],
  defaultSchema: DEFAULT_SCHEMA,
  openCatalog: async (options) => new PostgresCatalog(await Connection.open(options, "catalog")),
  openSource: (options) => PostgresSource.open(options),
  openTarget: (options) => PostgresTarget.open(options),
};
