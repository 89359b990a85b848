// Two names of a config that are one database, however its URLs spell it: refused before anything is changed (G8).
import { existsSync, linkSync, symlinkSync } from "node:fs";
import { basename, dirname, join, relative } from "node:path";
import { describe, expect, test } from "vitest";
import type { PipelineDefinition } from "../../src/core/definition.ts";
import { diagnose } from "../../src/pipeline/diagnose.ts";
import { makePlan } from "../../src/pipeline/plan.ts";
import { planResync } from "../../src/pipeline/resync.ts";
import { planUninstall, uninstall } from "../../src/pipeline/uninstall.ts";
import { available, type DatabaseKind } from "../servers/index.ts";
import { CUSTOMERS } from "../support/shop-tables.ts";
import { type Rules, TestBed } from "../support/test-bed.ts";
import { contents, createTables, insertRow, inventory } from "../support/test-tables.ts";

/** Another URL of the same database; `folder` takes what has to be made for it. */
type Respell = (url: string, folder: string) => string;

const FILE_SPELLINGS: Readonly<Record<string, Respell>> = {
  "a parameter": (url) => `${url}?mode=rw`,
  "a relative path": (url) => `sqlite:./${relative(process.cwd(), fileOf(url))}`,
  slashes: (url) => `sqlite://${fileOf(url)}`,
  "a link to the file": (url, folder) => {
    symlinkSync(fileOf(url), join(folder, "link.db"));
    return `sqlite:${join(folder, "link.db")}`;
  },
  "a second name of the file": (url, folder) => {
    linkSync(fileOf(url), join(folder, "second.db"));
    return `sqlite:${join(folder, "second.db")}`;
  },
  "a link to its folder": linkedFolder,
};

const SERVER_SPELLINGS: Readonly<Record<string, Respell>> = {
  "another name of the host": (url) => url.replace("127.0.0.1", "localhost"),
  "another user": (url) => {
    const other = new URL(url);
    [other.username, other.password] = [userOf(url), "tidemark"];
    return other.href;
  },
  "a parameter": (url) =>
    `${url}?${url.startsWith("postgres") ? "application_name=other" : "ssl-mode=DISABLED"}`,
};

describe("sqlite", () => registerSpellings("sqlite", FILE_SPELLINGS));

for (const kind of ["postgres", "mariadb", "mysql"] as const) {
  describe.skipIf(!available(kind))(kind, () => registerSpellings(kind, SERVER_SPELLINGS));
}

function registerSpellings(kind: DatabaseKind, spellings: Readonly<Record<string, Respell>>): void {
  test.each(Object.entries(spellings))("a source that is its target: %s", async (_, respell) => {
    await using bed = await TestBed.make({ source: kind });
    const source = await bed.sql("source");
    await createTables(source, kind, [CUSTOMERS]);
    await insertRow(source, CUSTOMERS, { id: 1, name: "one", credit: 1 });
    const { url } = bed.database("source");
    const again = respell(url, bed.folder);
    expect(again).not.toBe(url);
    const definition = define(bed, { again }, [toTarget("source", "again")]);
    const before = [await inventory(source), await contents(source, CUSTOMERS)];
    await using _user = await otherUser(bed, kind);
    const refused = {
      code: "TM-CONFIG-LOOP",
      message: expect.stringMatching(/"source" and "again" are one database/),
    };
    const { logger } = bed;
    await expect(bed.open(definition)).rejects.toMatchObject(refused);
    await expect(makePlan(definition, logger)).rejects.toMatchObject(refused);
    const resync = planResync(definition, { tables: ["customers"], logger });
    await expect(resync).rejects.toMatchObject(refused);
    expect(JSON.stringify(await diagnose(definition, logger))).toContain(refused.code);
    expect([await inventory(source), await contents(source, CUSTOMERS)]).toEqual(before);
  });

  test.each(Object.entries(spellings))("two names for one target: %s", async (_, respell) => {
    await using bed = await TestBed.make({ a: "sqlite", b: "sqlite", target: kind });
    await fill(bed, "a", "b");
    const target = await bed.sql("target");
    await createTables(target, kind, [CUSTOMERS]);
    const again = respell(bed.database("target").url, bed.folder);
    await using _user = await otherUser(bed, kind, "target");
    // What the patterns stand for shows only at the databases.
    for (const tables of [["customers"], ["cust*"]]) {
      const syncs = [toTarget("a", "target", tables), toTarget("b", "again", tables)];
      const definition = define(bed, { again }, syncs);
      const before = await inventory(target);
      await expect(bed.open(definition)).rejects.toMatchObject({
        code: "TM-CONFIG-OVERLAP",
        message: expect.stringContaining('"target" and "again" (one database)'),
      });
      expect(await inventory(target)).toEqual(before);
    }
  });
}

test("two names for one source, whose relay would serve but one of them", async () => {
  await using bed = await TestBed.make({ a: "sqlite", b: "sqlite", c: "sqlite" });
  await fill(bed, "a");
  const again = `${bed.database("a").url}?mode=rw`;
  const definition = define(bed, { again }, [toTarget("a", "b"), toTarget("again", "c")]);
  const before = await inventory(await bed.sql("a"));
  await expect(bed.open(definition)).rejects.toMatchObject({
    code: "TM-CONFIG-INVALID",
    message: expect.stringMatching(/read "a" and "again" \(one database\)/),
    fix: expect.stringContaining('Write "a" as the `from` of both.'),
  });
  expect(await inventory(await bed.sql("a"))).toEqual(before);
});

test("two names for a file that is still to be made, where only the applier runs, too", async () => {
  await using bed = await TestBed.make({ a: "sqlite", b: "sqlite" });
  await fill(bed, "a", "b");
  const path = join(bed.folder, "new.db");
  const linked = linkedFolder(`sqlite:${path}`, bed.folder);
  symlinkSync(path, join(bed.folder, "dangling.db"));
  for (const again of [linked, `sqlite:${join(bed.folder, "dangling.db")}`]) {
    const syncs = [toTarget("a", "target"), toTarget("b", "again")];
    const definition = define(bed, { target: `sqlite:${path}`, again }, syncs);
    const refused = { code: "TM-CONFIG-OVERLAP" };
    await expect(bed.open(definition)).rejects.toMatchObject(refused);
    const applier = await bed.open(definition, { role: "applier" });
    await expect(applier.start()).rejects.toMatchObject(refused);
    expect(existsSync(path)).toBe(false);
  }
});

test("a circle over two names, whether or not the tables on its way stand", async () => {
  await using bed = await TestBed.make({ a: "sqlite", b: "sqlite" });
  await fill(bed, "a");
  const b = await bed.sql("b");
  const again = `${bed.database("a").url}?mode=rw`;
  const definition = define(bed, { again }, [toTarget("a", "b"), toTarget("b", "again")]);
  const refused = {
    code: "TM-CONFIG-LOOP",
    message: expect.stringContaining("in a circle: a -> b -> again (which is a)"),
  };
  await expect(bed.open(definition)).rejects.toMatchObject(refused);
  expect(await inventory(b)).toEqual([]);
  await createTables(b, "sqlite", [CUSTOMERS]);
  await expect(bed.open(definition)).rejects.toMatchObject(refused);
});

test("what two names may be is not refused: the links of a chain, other tables of one target", async () => {
  await using bed = await TestBed.make({ a: "sqlite", b: "sqlite", c: "sqlite" });
  await fill(bed, "a", "b");
  const again = `${bed.database("b").url}?mode=rw`;
  const syncs = [toTarget("a", "b", ["customers"]), toTarget("again", "c", ["customers"])];
  await bed.open(define(bed, { again }, syncs));
  const others = [
    toTarget("a", "b", [{ table: "customers", as: "first" }]),
    toTarget("c", "again", [{ table: "customers", as: "second" }]),
  ];
  await fill(bed, "c");
  await bed.open(define(bed, { again }, others));
});

for (const [kind, respelt] of [
  ["sqlite", "mode=rw"],
  ["postgres", "application_name=other"],
  ["mariadb", "ssl-mode=DISABLED"],
] as const) {
  test.skipIf(!available(kind))(
    `uninstall takes away what such a config has left in ${kind}`,
    async () => {
      await using bed = await TestBed.make({ a: kind, b: kind });
      await fill(bed, "a");
      const fine = define(bed, {}, [toTarget("a", "b")]);
      await bed.stop(await bed.start(fine));
      const again = `${bed.database("a").url}?${respelt}`;
      const mistaken = define(bed, { again }, [toTarget("a", "again")]);
      const removed = await uninstall(mistaken, bed.logger);
      const twice = removed.filter(({ name }) => name !== "b");
      expect(twice.filter(({ statements }) => statements.length > 0).length).toBe(1);
      expect(String(await inventory(await bed.sql("a")))).not.toContain("tidemark");
      const left = await planUninstall(mistaken, bed.logger);
      expect(left.flatMap(({ statements }) => statements)).toEqual([]);
    },
  );
}

function toTarget(from: string, to: string, tables: Rules["tables"] = ["customers"]): Rules {
  return { from, to, tables };
}

/** The bed's databases, and more names. */
function define(
  bed: TestBed,
  more: Readonly<Record<string, string>>,
  syncs: readonly Rules[],
): PipelineDefinition {
  const definition = bed.define(syncs);
  const added = Object.entries(more).map(([name, url]) => ({ name, url }));
  return { ...definition, databases: [...definition.databases, ...added] };
}

async function fill(bed: TestBed, ...names: readonly string[]): Promise<void> {
  for (const name of names) {
    const sql = await bed.sql(name);
    await createTables(sql, bed.database(name).kind, [CUSTOMERS]);
    await insertRow(sql, CUSTOMERS, { id: 1, name, credit: 1 });
  }
}

function fileOf(url: string): string {
  return url.slice("sqlite:".length);
}

function linkedFolder(url: string, folder: string): string {
  const link = join(folder, "linked");
  symlinkSync(dirname(fileOf(url)), link);
  return `sqlite:${join(link, basename(fileOf(url)))}`;
}

function userOf(url: string): string {
  return `u_${new URL(url).pathname.slice(1)}`;
}

/** A user with no right but to connect, who may not read what an administrator may. */
async function otherUser(
  bed: TestBed,
  kind: DatabaseKind,
  name = "source",
): Promise<AsyncDisposable> {
  const sql = await bed.sql(name);
  if (kind === "sqlite") return { [Symbol.asyncDispose]: async () => {} };
  const { url } = bed.database(name);
  const user = userOf(url);
  if (kind === "postgres") await sql.run(`CREATE ROLE ${user} LOGIN PASSWORD 'tidemark'`);
  else {
    await sql.run(`CREATE USER '${user}'@'%' IDENTIFIED BY 'tidemark'`);
    await sql.run(`GRANT SELECT ON \`${new URL(url).pathname.slice(1)}\`.* TO '${user}'@'%'`);
  }
  const drop = kind === "postgres" ? `DROP ROLE ${user}` : `DROP USER '${user}'@'%'`;
  return { [Symbol.asyncDispose]: () => sql.run(drop).then(() => undefined) };
}
