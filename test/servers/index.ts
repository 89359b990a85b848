// The servers of the tests: the only file of this folder that tests import.
import type { DatabaseKind } from "./databases.ts";
import { SERVERS, type ServerName, whyMissing } from "./set.ts";

export { Authority, type Certificate, whyNoCertificates } from "./certificates.ts";
export {
  type DatabaseKind,
  type FreshDatabase,
  freshDatabase,
  natsUrl,
  type PostgresKind,
  serverUrl,
} from "./databases.ts";
export { Disk, whyNoPowerCut } from "./disk.ts";
export { startMariadb } from "./mariadb.ts";
export { startMysql } from "./mysql.ts";
export { startNats } from "./nats.ts";
export { startPgbouncer, whyNoPgbouncer } from "./pgbouncer.ts";
export { startPostgres } from "./postgres.ts";
export type { Server } from "./server.ts";

/**
 * Whether tests that need this server can run: `describe.skipIf(!available("mysql"))`. What was
 * skipped is listed with its reason when the run ends. In CI nothing required may be missing.
 */
export function available(name: ServerName | DatabaseKind): boolean {
  return name === "sqlite" || whyMissing(name) === undefined;
}

/** Whether a test can start a server of its own of this kind, to kill it. */
export function canStart(name: ServerName): boolean {
  return SERVERS[name].start !== undefined && SERVERS[name].isInstalled();
}
