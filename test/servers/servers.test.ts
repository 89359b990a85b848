import { DatabaseSync } from "node:sqlite";
import mysql from "mysql2/promise";
import pg from "pg";
import { describe, expect, test, vi } from "vitest";
import {
  available,
  canStart,
  type DatabaseKind,
  freshDatabase,
  natsUrl,
  startMariadb,
  startMysql,
  startNats,
  startPostgres,
} from "./index.ts";
import { choosePort, SHARES } from "./ports.ts";

/** Asks the database itself for its name, with the driver of its kind. */
async function currentDatabase(url: string): Promise<string> {
  if (url.startsWith("postgres:")) {
    const client = new pg.Client({ connectionString: url });
    await client.connect();
    const { rows } = await client.query("SELECT current_database() AS name");
    await client.end();
    return rows[0].name;
  }
  const connection = await mysql.createConnection({ uri: url });
  const [rows] = await connection.query<mysql.RowDataPacket[]>("SELECT database() AS name");
  await connection.end();
  return rows[0]?.name;
}

describe("shared servers", () => {
  const kinds: DatabaseKind[] = [
    "postgres",
    "postgres-newest",
    "postgres-oldest",
    "mariadb",
    "mysql",
  ];
  for (const kind of kinds) {
    test.skipIf(!available(kind))(`${kind}: each test has a database of its own`, async () => {
      await using one = await freshDatabase(kind);
      await using two = await freshDatabase(kind);
      expect(await currentDatabase(one.url)).toBe(new URL(one.url).pathname.slice(1));
      expect(await currentDatabase(two.url)).not.toBe(await currentDatabase(one.url));
    });

    test.skipIf(!available(kind))(`${kind}: the database is gone afterwards`, async () => {
      const database = await freshDatabase(kind);
      await database[Symbol.asyncDispose]();
      await expect(currentDatabase(database.url)).rejects.toThrow();
    });
  }

  test("sqlite: a file in a folder of its own", async () => {
    await using database = await freshDatabase("sqlite");
    using connection = new DatabaseSync(database.url.slice("sqlite:".length));
    expect(connection.prepare("SELECT 1 AS one").get()).toEqual({ one: 1 });
  });

  test.skipIf(!available("nats"))("nats: an address", () => {
    expect(natsUrl()).toMatch(/^nats:\/\//);
  });
});

describe("a server of the test's own", () => {
  test.skipIf(!canStart("postgres"))("postgres keeps what was committed when killed", async () => {
    await using server = await startPostgres();
    await using database = await freshDatabase("postgres", { server: server.url });
    const query = async (sql: string) => {
      const client = new pg.Client({ connectionString: database.url });
      await client.connect();
      const { rows } = await client.query(sql);
      await client.end();
      return rows;
    };
    await query("CREATE TABLE kept AS SELECT 7 AS value");
    const pid = server.pid;
    await server.kill();
    await expect(query("SELECT 1")).rejects.toThrow();
    await server.start();
    expect(server.pid).not.toBe(pid);
    expect(await query("SELECT value FROM kept")).toEqual([{ value: 7 }]);
  });

  for (const [kind, startServer] of [
    ["mariadb", startMariadb],
    ["mysql", startMysql],
  ] as const) {
    test.skipIf(!canStart(kind))(`${kind} keeps what was committed when killed`, async () => {
      await using server = await startServer();
      await using database = await freshDatabase(kind, { server: server.url });
      const query = async (sql: string) => {
        const connection = await mysql.createConnection({ uri: database.url });
        const [rows] = await connection.query(sql);
        await connection.end();
        return rows;
      };
      await query("CREATE TABLE kept AS SELECT 7 AS value");
      await server.kill();
      await expect(query("SELECT 1")).rejects.toThrow();
      await server.start();
      expect(await query("SELECT value FROM kept")).toEqual([{ value: 7 }]);
    });
  }

  test.skipIf(!canStart("nats"))("nats is killed, started, stopped and restarted", async () => {
    await using server = await startNats();
    await server.kill();
    await server.start();
    await server.restart();
    const fetched = await fetch(server.url.replace("nats:", "http:")).catch(() => "not http");
    expect(fetched).toBe("not http");
    await server.stop();
  });
});

test("workers have ports of their own to start servers at", async () => {
  const shares = new Map<string, Set<number>>();
  try {
    for (const worker of ["1", "2", "3"]) {
      vi.stubEnv("VITEST_POOL_ID", worker);
      const ports = await Promise.all(Array.from({ length: 300 }, choosePort));
      expect(new Set(ports).size).toBe(ports.length);
      shares.set(worker, new Set(ports.map((port) => port % SHARES)));
    }
  } finally {
    vi.unstubAllEnvs();
  }
  const all = [...shares.values()].flatMap((share) => [...share]);
  expect(all).toHaveLength(3);
  expect(new Set(all).size).toBe(3);
});
