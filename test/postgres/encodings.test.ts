// Databases in other encodings than UTF8: what can be converted arrives by each path, and what cannot
// stops the sync with a message that says so (G6, G8).
import pg from "pg";
import { describe, expect, it } from "vitest";
import { postgres } from "../../src/databases/postgres/index.ts";
import { available, serverUrl } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { optionsOf } from "./support.ts";

/** A name, a text that the encoding has, and the bytes of one that UTF8 has not. */
const ENCODINGS = [
  ["LATIN1", "Größe", "ä\\ß\t\u0085", null],
  ["WIN1252", "€", "“ž”", "81"],
  ["EUC_JP", "注文", "漢字", "a9a1"],
  ["SQL_ASCII", "plain", "plain", "e9"],
] as const;

describe.skipIf(!available("postgres"))("a source in", () => {
  it.each(ENCODINGS)("%s", async (encoding, name, text, unknown) => {
    await using database = await databaseIn(encoding);
    const { client } = database;
    const table = client.escapeIdentifier(name);
    await client.query(`CREATE TABLE ${table} (id int PRIMARY KEY, ${table} text)`);
    const insert = (first: number) =>
      client.query(
        `INSERT INTO ${table} SELECT n, CASE WHEN n % 7 = 0 THEN $2 END FROM generate_series($1::int, $1 + 2999) n`,
        [first, text],
      );
    await insert(1);
    await using bed = await TestBed.make({ target: "postgres" });
    const definition = bed.define([{ from: "source", to: "target", tables: [`public.${name}`] }]);
    const source = { name: "source", url: database.url };
    const pipeline = await bed.start({
      ...definition,
      databases: [...definition.databases, source],
    });
    await insert(10_001);
    await client.query(`UPDATE ${table} SET ${table} = ${table} || 'x' WHERE id < 50`);
    await pipeline.waitFor({ timeoutMs: PATIENCE_MS });
    const target = await bed.sql("target");
    const all = `SELECT id::text, ${table} FROM public.${table} ORDER BY 1`;
    expect(await target.rows(all)).toEqual((await client.query(all)).rows);
    expect(await warnings(database.url)).toContain("server-encoding");
    if (unknown === null) return;
    await client.query(
      `INSERT INTO ${table} VALUES (0, convert_from('\\x${unknown}', '${encoding}'))`,
    );
    await expect(pipeline.finished).rejects.toMatchObject({
      code: "TM-VALUE-REFUSED",
      message: expect.stringContaining("cannot be converted between UTF8 and its encoding"),
      fix: expect.stringContaining("tidemark uninstall"),
    });
  });
});

describe.skipIf(!available("postgres"))("a target in LATIN1", () => {
  it("names the column of a text that it lacks, and says which names it lacks", async () => {
    await using database = await databaseIn("LATIN1");
    await using bed = await TestBed.make({ source: "postgres" });
    const source = await bed.sql("source");
    await source.run("CREATE TABLE a (id int PRIMARY KEY, v text, w text)");
    await source.run('CREATE TABLE "a€" (id int PRIMARY KEY)');
    const target = await postgres.openTarget(optionsOf(database.url));
    expect((await target.plan([])).notes).toEqual([expect.stringContaining("LATIN1")]);
    await target.close();
    const to = { name: "target", url: database.url };
    const define = (table: string) => {
      const definition = bed.define([{ from: "source", to: "target", tables: [table] }]);
      return { ...definition, databases: [...definition.databases, to] };
    };
    await expect(bed.start(define("public.a€"))).rejects.toMatchObject({
      code: "TM-VALUE-REFUSED",
      message: expect.stringContaining(
        "a text or a name cannot be converted between UTF8 and its encoding",
      ),
      fix: expect.stringContaining("UTF8"),
    });
    const pipeline = await bed.start(define("public.a"));
    await source.run("INSERT INTO a VALUES (1, 'é', '€')");
    await expect(pipeline.finished).rejects.toMatchObject({
      code: "TM-VALUE-REFUSED",
      message:
        "A value for public.a, column w has a character that the encoding of the target's database lacks.",
    });
  });
});

interface EncodedDatabase extends AsyncDisposable {
  readonly url: string;
  readonly client: pg.Client;
}

async function databaseIn(encoding: string): Promise<EncodedDatabase> {
  const server = serverUrl("postgres");
  const name = `tm_${encoding.toLowerCase()}_${process.pid}_${Date.now()}`;
  const admin = await connect(server);
  await admin.query(
    `CREATE DATABASE ${name} TEMPLATE template0 ENCODING '${encoding}' LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'`,
  );
  const url = new URL(server);
  url.pathname = `/${name}`;
  const client = await connect(url.href);
  return {
    url: url.href,
    client,
    async [Symbol.asyncDispose]() {
      await client.end();
      await admin.query(`DROP DATABASE ${name} WITH (FORCE)`);
      await admin.end();
    },
  };
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  return client;
}

async function warnings(url: string): Promise<string[]> {
  const source = await postgres.openSource(optionsOf(url));
  try {
    const findings = await source.diagnose([]);
    return findings.filter(({ severity }) => severity === "warning").map(({ check }) => check);
  } finally {
    await source.close();
  }
}
