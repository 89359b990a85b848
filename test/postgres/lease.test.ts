// One holder at a time (G2).
import { describe, expect, it } from "vitest";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { available, freshDatabase } from "../servers/index.ts";
import { optionsOf, SERVERS } from "./support.ts";

describe.each(SERVERS)("the lease on %s", (kind) => {
  it.skipIf(!available(kind))("is free half a minute after its machine vanished", async () => {
    await using database = await freshDatabase(kind);
    const connection = await Connection.open(optionsOf(database.url), "relay");
    try {
      const [row] = await connection.rows(
        `SELECT inet_server_addr() IS NOT NULL, current_setting('tcp_keepalives_idle')::int
           + current_setting('tcp_keepalives_interval')::int * current_setting('tcp_keepalives_count')::int`,
      );
      // Over a socket of the same machine there is nothing to find out: the settings read 0.
      expect(row).toEqual(row?.[0] === "t" ? ["t", "30"] : ["f", "0"]);
    } finally {
      await connection.close();
    }
  });
});
