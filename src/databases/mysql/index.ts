import type { DatabaseAdapter } from "../../core/database.ts";
import { KIND } from "./types.ts";

/** MariaDB 10.6 or later, and MySQL 8. Its parts are loaded when they are used. */
export const mysql: DatabaseAdapter = {
  kind: KIND,
  schemes: ["mysql", "mariadb"],
  defaultSchema: null,
  hasAddress: true,
  async openCatalog(options) {
    const { MysqlCatalog } = await import("./catalog.ts");
    const { Session } = await import("./connection.ts");
    const settings = { isolation: "READ COMMITTED", flights: true } as const;
    return new MysqlCatalog(await Session.open(options, settings), options);
  },
  openSource: async (options) => (await import("./source.ts")).MysqlSource.open(options),
  openTarget: async (options) => (await import("./target.ts")).MysqlTarget.open(options),
};
