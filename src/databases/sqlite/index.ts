import type { DatabaseAdapter } from "../../core/database.ts";

/** SQLite files. Its parts are loaded when they are used. */
export const sqlite: DatabaseAdapter = {
  kind: "sqlite",
  schemes: ["sqlite"],
  defaultSchema: null,
  hasAddress: false,
  async openCatalog(options) {
    const { SqliteCatalog } = await import("./catalog.ts");
    const { Connection } = await import("./connection.ts");
    return new SqliteCatalog(await Connection.open(options, { create: false }));
  },
  openSource: async (options) => (await import("./source.ts")).SqliteSource.open(options),
  openTarget: async (options) => (await import("./target.ts")).SqliteTarget.open(options),
};
