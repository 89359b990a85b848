// MariaDB's own replication: rows in the binary log, global transaction ids, and a replica that
// applies in parallel, which its documentation recommends where one thread would fall behind. On two
// servers of its own, with the settings that Tidemark's have.
import { setTimeout as sleep } from "node:timers/promises";
import { AnyDatabase, AnyPair } from "../any-pair.ts";
import type { Bed } from "../bed.ts";
import { createRows, ROWS } from "../loads/rows.ts";
import type { Arm, Rival } from "./arm.ts";

const REPLICA = { "server-id": "2", "slave-parallel-threads": "4" };

export async function createMariadbReplication(bed: Bed, name: string): Promise<Rival<AnyPair>> {
  const from = await bed.mariadb("source of replication");
  const to = await bed.mariadb("replica", REPLICA);
  const origin = await AnyDatabase.open(bed, `${name}_source`, "mariadb", from.url);
  const server = await AnyDatabase.open(bed, `${name}_replica`, "mariadb", to.url);
  // What the servers did for themselves, accounts for one, is no concern of the other.
  const [position] = await origin.sql.rows("SELECT @@gtid_binlog_pos AS at");
  await server.sql.run("RESET MASTER");
  await server.sql.run("SET GLOBAL gtid_slave_pos = ?", [position?.at ?? ""]);
  const source = await AnyDatabase.create(bed, name, "mariadb", from.url);
  await createRows(source.sql, ROWS);
  const { hostname, port, username, password } = new URL(from.url);
  await server.sql.run(
    `CHANGE MASTER TO MASTER_HOST = '${hostname}', MASTER_PORT = ${port},
       MASTER_USER = '${username}', MASTER_PASSWORD = '${password}', MASTER_USE_GTID = slave_pos`,
  );
  await server.sql.run("START SLAVE");
  // The database itself comes through the log, too.
  const url = new URL(to.url);
  url.pathname = new URL(source.url).pathname;
  await untilThere(server, url.pathname.slice(1));
  const target = await AnyDatabase.open(bed, `${name}_1`, "mariadb", url.href);
  await server.sql.run("STOP SLAVE");
  const [row] = await server.sql.rows("SELECT version() AS version");
  return {
    arm: new MariadbReplication(new AnyPair(source, [target]), server),
    version: String(row?.version),
  };
}

class MariadbReplication implements Arm<AnyPair> {
  readonly pair: AnyPair;
  readonly #replica: AnyDatabase;

  constructor(pair: AnyPair, replica: AnyDatabase) {
    this.pair = pair;
    this.#replica = replica;
  }

  async start(): Promise<void> {
    await this.release();
    for (;;) {
      const [state] = await this.#replica.sql.rows("SHOW SLAVE STATUS");
      assertSound(state);
      if (state?.Slave_IO_Running === "Yes" && state.Slave_SQL_Running === "Yes") return;
      await sleep(20);
    }
  }

  async stop(): Promise<void> {
    await this.#replica.sql.run("STOP SLAVE");
  }

  async hold(): Promise<void> {
    await this.stop();
  }

  async release(): Promise<void> {
    await this.#replica.sql.run("START SLAVE");
  }
}

async function untilThere(server: AnyDatabase, database: string): Promise<void> {
  for (;;) {
    const [state] = await server.sql.rows("SHOW SLAVE STATUS");
    assertSound(state);
    const found = await server.sql.rows(
      "SELECT 1 AS one FROM information_schema.tables WHERE table_schema = ? AND table_name = ?",
      [database, ROWS],
    );
    if (found.length > 0) return;
    await sleep(20);
  }
}

function assertSound(state: Readonly<Record<string, string | null>> | undefined): void {
  const error = state?.Last_IO_Error || state?.Last_SQL_Error;
  if (error) throw new Error(`MariaDB's replica stopped: ${error}`);
}
