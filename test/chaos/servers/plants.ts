// Faults built in on purpose, which worlds whose power is cut must find: `npm run chaos -- --power --plant NAME`.
import type { TestPair } from "../../support/pairs.ts";
import type { Side } from "./clients.ts";
import type { Settings } from "./power.ts";

export interface Plant {
  readonly what: string;
  readonly pair: Pick<TestPair, "source" | "target">;
  /** Whose commits Tidemark's processes do not sync. */
  readonly unsynced?: Side;
  /** Of the server of that side. */
  readonly settings?: Partial<Record<Side, Settings>>;
}

export const PLANTS: Readonly<Record<string, Plant>> = {
  "sqlite-cut": {
    what: "SQLite: the record of a cut is not synced before the batch is published",
    pair: { source: "sqlite", target: "postgres" },
    unsynced: "source",
  },
  "postgres-cut": {
    what: "PostgreSQL: the record of a cut is committed without waiting for the disk",
    pair: { source: "postgres", target: "sqlite" },
    unsynced: "source",
  },
  "sqlite-notice": {
    what: "SQLite: the notice is told before the target has synced the commit",
    pair: { source: "postgres", target: "sqlite" },
    unsynced: "target",
  },
  "postgres-notice": {
    what: "PostgreSQL: the notice is told before the commit of the target is on disk",
    pair: { source: "sqlite", target: "postgres" },
    unsynced: "target",
  },
  "binary-log": {
    what: "MariaDB as a source with its own default, sync_binlog = 0",
    pair: { source: "mariadb", target: "sqlite" },
    settings: { source: { "sync-binlog": "0" } },
  },
};
