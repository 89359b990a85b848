import type { DatabaseAdapter } from "../../core/database.ts";
import { MysqlCatalog } from "./catalog.ts";
import { Session } from "./connection.ts";
import { MysqlSource } from "./source.ts";
import { MysqlTarget } from "./target.ts";
import { KIND } from "./types.ts";

/** MariaDB 10.6 or later, and MySQL 8. */
export const mysql: DatabaseAdapter = {
  kind: KIND,
  schemes: ["mysql", "mariadb"],
  defaultSchema: null,
  openCatalog: async (options) =>
    new MysqlCatalog(await Session.open(options, { isolation: "READ COMMITTED" })),
  openSource: (options) => MysqlSource.open(options),
  openTarget: (options) => MysqlTarget.open(options),
};
