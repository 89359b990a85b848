import type { DatabaseAdapter } from "../../core/database.ts";
import { SqliteCatalog } from "./catalog.ts";
import { Connection } from "./connection.ts";
import { SqliteSource } from "./source.ts";
import { SqliteTarget } from "./target.ts";

export const sqlite: DatabaseAdapter = {
  kind: "sqlite",
  schemes: ["sqlite"],
  defaultSchema: null,
  openCatalog: async (options) =>
    new SqliteCatalog(await Connection.open(options, { create: false })),
  openSource: (options) => SqliteSource.open(options),
  openTarget: (options) => SqliteTarget.open(options),
};
