// What a role or a database is set to ends no session of ours, and lets none see less than it must (G6).
import { describe, expect, it, vi } from "vitest";
import type { DatabaseOptions } from "../../src/core/database.ts";
import { Connection } from "../../src/databases/postgres/connection.ts";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, freshDatabase, serverUrl } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { connect, optionsOf, SERVERS } from "./support.ts";

/** What others have set, and what stands in our sessions all the same. */
const SETTINGS = [
  ["default_transaction_isolation", "serializable", "read committed"],
  ["statement_timeout", "1s", "0"],
  ["lock_timeout", "1s", "0"],
  ["idle_in_transaction_session_timeout", "1s", "0"],
  ["idle_session_timeout", "1s", "0"],
  ["transaction_timeout", "1s", "0"],
  ["array_nulls", "off", "on"],
  ["xmloption", "document", "content"],
  ["row_security", "on", "off"],
  ["search_path", "public", "pg_catalog"],
  ["standard_conforming_strings", "off", "on"],
  ["synchronous_commit", "off", "on"],
] as const;

describe.each(SERVERS)("a session of ours at %s", (kind) => {
  it.skipIf(!available(kind))("has its own settings", async () => {
    await using database = await freshDatabase(kind);
    const owner = await connect(database.url);
    const { rows } = await owner.query("SELECT name FROM pg_settings");
    const known = new Set(rows.map(({ name }) => name));
    const settings = SETTINGS.filter(([name]) => known.has(name));
    const name = new URL(database.url).pathname.slice(1);
    for (const [setting, theirs] of settings) {
      await owner.query(`ALTER DATABASE ${name} SET ${setting} TO '${theirs}'`);
    }
    await owner.end();
    const session = await Connection.open(optionsOf(database.url), "test");
    try {
      const found: (readonly [string, string | null | undefined])[] = [];
      for (const [setting] of settings) {
        const [row] = await session.rows("SELECT current_setting($1)", [setting]);
        found.push([setting, row?.[0]]);
      }
      expect(found).toEqual(settings.map(([setting, , ours]) => [setting, ours]));
    } finally {
      await session.close();
    }
  });

  it.skipIf(!available(kind))("is where the URL says, whatever the environment names", async () => {
    await using database = await freshDatabase(kind);
    const wrong = {
      ...{ PGHOST: "192.0.2.1", PGPORT: "1", PGUSER: "nobody", PGDATABASE: "nothing" },
      ...{ PGSSLMODE: "require", PGSSLNEGOTIATION: "direct", PGPASSWORD: "wrong" },
      PGREPLICATION: "database",
    };
    for (const [name, value] of Object.entries(wrong)) vi.stubEnv(name, value);
    try {
      const session = await Connection.open(optionsOf(database.url), "test");
      const [row] = await session.rows("SELECT current_database()");
      await session.close();
      expect(row).toEqual([new URL(database.url).pathname.slice(1)]);
      vi.stubEnv("PGPASSWORD", undefined);
      const without = new URL(database.url);
      without.password = "";
      await expect(Connection.open(optionsOf(without.href), "test")).rejects.toMatchObject({
        code: "TM-AUTH-FAILED",
        message: 'Database "shop" asks for a password, and its URL has none.',
      });
    } finally {
      vi.unstubAllEnvs();
    }
  });

  it.skipIf(!available(kind))("that cannot be made is told with a way out", async () => {
    await using database = await freshDatabase(kind);
    const elsewhere = new URL(database.url);
    elsewhere.pathname = "/no_such_database";
    await expect(Connection.open(optionsOf(elsewhere.href), "test")).rejects.toMatchObject({
      code: "TM-CONNECT-FAILED",
      fix: expect.stringContaining("CREATE DATABASE"),
    });
    if (!available("mariadb")) return;
    elsewhere.port = new URL(serverUrl("mariadb")).port;
    await expect(Connection.open(optionsOf(elsewhere.href), "test")).rejects.toMatchObject({
      code: "TM-CONNECT-FAILED",
      fix: expect.stringContaining("Is it PostgreSQL that listens there?"),
    });
  });

  it.skipIf(!available(kind))("takes one way to the server once it is let in", async () => {
    await using database = await freshDatabase(kind);
    const options = optionsOf(database.url);
    const only = await identityOf(options);
    await using proxy = await TcpProxy.start(database.url);
    proxy.slow(3);
    const url = proxy.through(database.url);
    const session = await Connection.open({ ...options, url, only }, "test");
    // Two of them are the password.
    expect(proxy.turns).toBeLessThan(4);
    await session.close();
    const other = Connection.open({ ...options, url, only: "another" }, "test");
    await expect(other).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
  });

  it.skipIf(!available(kind))("calls no function or operator of others", async () => {
    await using database = await freshDatabase(kind);
    const options = optionsOf(database.url);
    const only = await identityOf(options);
    const owner = await connect(database.url);
    const name = new URL(database.url).pathname.slice(1);
    await owner.query(`
      CREATE SCHEMA theirs;
      CREATE FUNCTION theirs.pg_backend_pid() RETURNS int LANGUAGE sql AS 'SELECT 7';
      CREATE FUNCTION theirs.set_config(text, text, boolean) RETURNS text LANGUAGE sql AS 'SELECT $1';
      CREATE FUNCTION theirs.current_setting(text) RETURNS text LANGUAGE sql AS $$SELECT '80000'$$;
      CREATE FUNCTION theirs.current_setting(text, boolean) RETURNS text LANGUAGE sql AS 'SELECT NULL';
      CREATE FUNCTION theirs.pg_postmaster_start_time() RETURNS timestamptz LANGUAGE sql AS 'SELECT now()';
      CREATE FUNCTION theirs.differ(int, int) RETURNS boolean LANGUAGE sql AS 'SELECT false';
      CREATE OPERATOR theirs.= (LEFTARG = int, RIGHTARG = int, FUNCTION = theirs.differ);
      CREATE FUNCTION theirs.join(text, text) RETURNS text LANGUAGE sql AS $$SELECT ''$$;
      CREATE OPERATOR theirs.|| (LEFTARG = text, RIGHTARG = text, FUNCTION = theirs.join);
      CREATE TABLE theirs.pg_database (oid oid, datname name);
      CREATE DOMAIN theirs.text AS varchar(1);
      ALTER DATABASE ${name} SET search_path TO theirs, pg_catalog`);
    await owner.end();
    const session = await Connection.open({ ...options, only }, "test");
    expect(session.pooled).toBe(false);
    expect(await session.rows("SHOW search_path")).toEqual([["pg_catalog"]]);
    await session.close();
  });
});

async function identityOf(options: DatabaseOptions): Promise<string> {
  const source = await postgres.openSource(options);
  const identity = await source.identity();
  await source.close();
  return identity ?? "";
}
