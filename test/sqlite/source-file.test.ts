// The file of a SQLite source: copied, moved, put back as it was, replaced while open, damaged, with records beside it that are not its
// own; two relays at one; its journal mode (G1, G8).
import { execFile, spawn, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import type { Change } from "../../src/core/change.ts";
import { silentLogger } from "../../src/core/log.ts";
import type { SqliteBatches } from "../../src/databases/sqlite/batches.ts";
import { sqlite } from "../../src/databases/sqlite/index.ts";
import { refuses } from "../../src/testing/database-bed.ts";
import { describeChange, takeChanges } from "../../src/testing/replica.ts";
import { isReachable, serverAccount } from "../servers/account.ts";
import { bench, capture, path, putBack, SIMPLE, unseen } from "./support.ts";

describe("the file", () => {
  it("begins a new timeline in a copy whose original is still there", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    const copy = `${path()}.copy`;
    copyFileSync(path(), copy);
    const options = { ...bench.options, url: `sqlite:${copy}` };
    const catalog = await sqlite.openCatalog(options);
    // Else who asks before the relay has begun takes the copy for the original.
    expect(await catalog.timeline()).toBeNull();
    const source = await sqlite.openSource(options);
    const cloned = await source.openChangeLog();
    expect(cloned?.timeline).not.toBe(log.timeline);
    expect(await catalog.timeline()).toBe(cloned?.timeline);
    await catalog.close();
    expect(await cloned?.batches.last()).toBeNull();
    expect((await cloned?.batches.cut())?.header).toBeNull();
    await cloned?.close();
    await source.close();
  });

  it("keeps its timeline when it is moved", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    const last = await log.batches.last();
    await log.close();
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    await sql.close();
    const moved = `${path()}.moved`;
    renameSync(path(), moved);
    renameSync(`${path()}-tidemark`, `${moved}-tidemark`);
    const source = await sqlite.openSource({ ...bench.options, url: `sqlite:${moved}` });
    const again = await source.openChangeLog();
    expect(again?.timeline).toBe(log.timeline);
    expect(await again?.batches.last()).toEqual(last);
    await again?.close();
    await source.close();
  });

  it("forks the chain of hashes when it goes back in time", async () => {
    const { sql, source, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await log.close();
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    const files = [path(), `${path()}-tidemark`];
    for (const file of files) copyFileSync(file, `${file}.backup`);
    const later = await source.openChangeLog();
    await sql.run("INSERT INTO t VALUES (2, 'b')");
    await later?.batches.cut();
    const published = await later?.batches.last();
    await later?.close();
    await source.close();
    await sql.close();
    for (const tail of ["-wal", "-shm"]) rmSync(path() + tail, { force: true });
    for (const file of files) copyFileSync(`${file}.backup`, file);
    const again = await bench.log();
    const restored = await bench.sql();
    await restored.run("INSERT INTO t VALUES (2, 'b')");
    await takeChanges(again.batches);
    const forked = await again.batches.last();
    expect(forked?.batch).toBe(published?.batch);
    expect(forked?.prevHash).toBe(published?.prevHash);
    expect(forked?.hash).not.toBe(published?.hash);
  });

  it.each([
    ["fewer changes than were sent", 0],
    ["as many", 1],
    ["more", 3],
  ])("is found to have gone back without the records, with %s since", async (_, rows) => {
    const { sql, log, source } = await capture(SIMPLE);
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    copyFileSync(path(), `${path()}.backup`);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await putBack({ sql, log, source });
    const again = await bench.log();
    const restored = await bench.sql();
    for (let id = 1; id <= rows; id++) await restored.run(`INSERT INTO t VALUES (${id}, 'z')`);
    await refuses(again.batches.cut(), "TM-SOURCE-REWOUND");
  });

  it("is found out when its records went back to before the first batch", async () => {
    const { sql, log, source } = await capture(SIMPLE);
    const records = `${path()}-tidemark`;
    await log.close();
    copyFileSync(records, `${records}.backup`);
    const later = await bench.log(source);
    await sql.run("INSERT INTO t VALUES (1, 'a'), (2, 'b')");
    await takeChanges(later.batches);
    await later.batches.purge(1);
    await later.close();
    copyFileSync(`${records}.backup`, records);
    const again = await bench.log(source);
    await refuses(again.batches.cut(), "TM-CAPTURE-BROKEN");
  });

  it("is found to have gone back to before displaced rows were settled", async () => {
    const { sql, log, source } = await capture(
      "CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE)",
    );
    await sql.run("INSERT INTO t VALUES (1, 'a'); REPLACE INTO t VALUES (2, 'a')");
    await sql.run("PRAGMA wal_checkpoint(TRUNCATE)");
    copyFileSync(path(), `${path()}.backup`);
    expect(await takeChanges(log.batches)).toHaveLength(3);
    await putBack({ sql, log, source });
    const again = await bench.log();
    await refuses(again.batches.cut(), "TM-SOURCE-REWOUND");
  });

  it.each(["gone", "another's"])("is not read when its records are %s", async (which) => {
    const { sql, log, source } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await log.close();
    if (which === "gone") rmSync(`${path()}-tidemark`);
    else {
      const records = new DatabaseSync(`${path()}-tidemark`);
      records.exec("UPDATE tidemark_records SET timeline = 'another'");
      records.close();
    }
    const findings = await source.diagnose([]);
    expect(findings).toContainEqual(expect.objectContaining({ check: "log-lost" }));
    await refuses(source.openChangeLog(), "TM-SOURCE-REWOUND");
  });

  it.each(["no database", "of broken pages"])(
    "names the file of its records, and the way out, when that is %s",
    async (which) => {
      const { log, source } = await capture(SIMPLE);
      await log.close();
      const records = `${path()}-tidemark`;
      const intact = which === "no database" ? 0 : 4096;
      const start = readFileSync(records).subarray(0, intact);
      writeFileSync(records, Buffer.concat([start, Buffer.alloc(16384, "none")]));
      const opened = source.openChangeLog().then((log) => log?.batches.cut());
      await expect(opened).rejects.toMatchObject({
        code: "TM-SERVER-UNSUPPORTED",
        message: expect.stringContaining(records),
        fix: expect.stringContaining("TM-SOURCE-REWOUND"),
      });
    },
  );

  it("is not opened where its records cannot be, before a start has made anything", async () => {
    mkdirSync(`${path()}-tidemark`);
    const opening = bench.source();
    await expect(opening).rejects.toMatchObject({
      code: "TM-CONNECT-FAILED",
      message: expect.stringContaining(`${path()}-tidemark is no file`),
    });
  });

  it.each([240, 247])(
    "is refused when its name is %s bytes long, so that those of its records are too long",
    async (length) => {
      const long = join(dirname(path()), "n".repeat(length));
      const url = `sqlite:${long}`;
      new DatabaseSync(long).close();
      const source = await sqlite.openSource({ ...bench.options, url });
      await expect(source.openChangeLog()).rejects.toMatchObject({
        code: "TM-URL-INVALID",
        message: expect.stringContaining(`${long}-tidemark`),
      });
      await source.close();
    },
  );

  it("lets a transaction write that has read before a batch was cut", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    const application = new DatabaseSync(path());
    application.exec("PRAGMA synchronous = NORMAL; BEGIN; SELECT * FROM t");
    expect(await takeChanges(log.batches)).toHaveLength(1);
    await log.subscribers.set("s", 1);
    application.exec("INSERT INTO t VALUES (2, 'b'); COMMIT");
    application.close();
    expect(await takeChanges(log.batches)).toHaveLength(1);
  });

  it("is noticed when it is replaced while open", async () => {
    const { log } = await capture(SIMPLE);
    renameSync(path(), `${path()}.old`);
    await refuses(log.batches.cut(), "TM-CONNECTION-LOST");
  });

  it("is noticed when the link that it was opened by leads to another one", async () => {
    const sql = await bench.sql();
    await sql.rows("PRAGMA journal_mode = WAL");
    await sql.run(SIMPLE);
    const [real, link] = [path(), `${path()}.link`];
    symlinkSync(real, link);
    const options = { name: "source", url: `sqlite:${link}`, logger: silentLogger };
    const source = await sqlite.openSource(options);
    const log = await source.openChangeLog();
    if (log === null) throw new Error("a relay is at work");
    await log.capture([await bench.captureTable("t")]);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    expect(await takeChanges(log.batches)).toHaveLength(1);
    await sql.run(`VACUUM INTO '${real}.other'`);
    rmSync(link);
    // Not yet led elsewhere.
    expect((await log.batches.cut()).header).toBeNull();
    symlinkSync(`${real}.other`, link);
    const told = {
      code: "TM-CONNECTION-LOST",
      message: expect.stringContaining(`${link} no longer leads to ${real}`),
    };
    await expect(log.batches.cut()).rejects.toMatchObject(told);
    await expect(log.waitForChanges(new AbortController().signal)).rejects.toMatchObject(told);
    await log.close();
    await source.close();
  });

  /** Makes two disks of memory beside each other, and runs a script there. */
  const onTwoDisks = (script: string) =>
    spawnSync(
      "unshare",
      [
        "-Urm",
        "sh",
        "-ec",
        'mkdir -p a b; mount -t tmpfs a a; mount -t tmpfs b b; exec "$0" --experimental-strip-types --input-type=module -e "$1"',
        process.execPath,
        script,
      ],
      { cwd: dirname(path()), encoding: "utf8" },
    );
  it("is noticed when the link leads to one of the same number on another disk", async (context) => {
    if (onTwoDisks("").status !== 0) return context.skip();
    const module = new URL("../../src/databases/sqlite/connection.ts", import.meta.url).href;
    const { stdout, stderr } = onTwoDisks(`
      const { rmSync, statSync, symlinkSync } = await import("node:fs");
      const { DatabaseSync } = await import("node:sqlite");
      const { Connection } = await import(${JSON.stringify(module)});
      for (const file of ["a/t", "b/t"]) new DatabaseSync(file).exec("CREATE TABLE t (id)");
      symlinkSync("a/t", "link");
      const connection = await Connection.open({ name: "source", url: "sqlite:./link" }, { create: false });
      connection.checkFile();
      rmSync("link");
      symlinkSync("b/t", "link");
      console.log(statSync("a/t").ino === statSync("b/t").ino);
      try { connection.checkFile(); } catch ({ message }) { console.log(message); }`);
    expect(`${stdout}${stderr}`).toMatch(/^true\nsource: .* no longer leads to /);
  });

  it("is not opened anew where the log of WAL mode still belongs to the one before", async () => {
    const sql = await bench.sql();
    await sql.rows("PRAGMA journal_mode = WAL");
    const { log, source } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await sql.run(`VACUUM INTO '${path()}.new'`);
    copyFileSync(`${path()}.new`, `${path()}.again`);
    renameSync(`${path()}.new`, path());
    const told = {
      code: "TM-SERVER-UNSUPPORTED",
      message: expect.stringContaining("replaced while open"),
      fix: expect.stringContaining(`rm ${path()}-wal ${path()}-shm`),
    };
    await expect(log.batches.cut()).rejects.toMatchObject(told);
    // Nor does one that waits sleep over it.
    await expect(log.waitForChanges(new AbortController().signal)).rejects.toMatchObject(told);
    await log.close();
    await source.close();
    for (const suffix of ["-wal", "-shm"]) rmSync(path() + suffix);
    renameSync(`${path()}.again`, path());
    const again = await bench.log(await bench.source());
    await again.capture([await bench.captureTable("t")]);
    await (await bench.sql()).run("INSERT INTO t VALUES (2, 'b')");
    expect((await takeChanges(again.batches)).map(describeChange)).toEqual(["insert 2,b"]);
  });

  it("is told as damaged where ours in it cannot be read", async () => {
    const { sql, log, source } = await capture(SIMPLE);
    await log.close();
    await sql.run("UPDATE tidemark_layouts SET definition = 'null'");
    const tables = [await bench.captureTable("t")];
    await expect(source.planCapture(tables)).rejects.toMatchObject({
      code: "TM-SERVER-UNSUPPORTED",
      message: expect.stringContaining(`${path()} is damaged`),
      fix: expect.stringContaining(`sqlite3 ${path()} `),
    });
  });

  it("fences a relay when another has cut a batch after all", async () => {
    const { sql, log } = await capture(SIMPLE);
    await sql.run("INSERT INTO t VALUES (1, 'a')");
    await takeChanges(log.batches);
    await sql.run("INSERT INTO t VALUES (2, 'b')");
    // Only a relay that does not see our lease comes so far: another machine, another user.
    const other = await unseen();
    const cuts = await Promise.allSettled([log.batches.cut(), other.batches.cut()]);
    expect(cuts.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect(cuts).toContainEqual({
      status: "rejected",
      reason: expect.objectContaining({ code: "TM-RELAY-FENCED" }),
    });
    expect((await log.batches.last())?.batch).toBe(2);
  });

  it("has displaced rows settled once, where two relays do so", async () => {
    const { sql, log } = await capture("CREATE TABLE t (id INTEGER PRIMARY KEY, u TEXT UNIQUE)");
    const other = await unseen();
    await sql.run("INSERT INTO t VALUES (1, 'a'); REPLACE INTO t VALUES (2, 'a')");
    const application = new DatabaseSync(path());
    application.exec("BEGIN IMMEDIATE");
    const cuts = [log, other].map(({ batches }) => batches.cut());
    // Both have looked, and wait to write.
    for (const { batches } of [log, other])
      await expect.poll(() => (batches as SqliteBatches).seen).toBe(3n);
    application.exec("COMMIT");
    application.close();
    const done = (await Promise.allSettled(cuts)).map(({ status }) => status);
    expect(done.sort()).toEqual(["fulfilled", "rejected"]);
    const changes = [];
    for await (const page of log.batches.pages(1)) changes.push(...(page as Change[]));
    expect(changes.map(describeChange)).toEqual(["insert 1,a", "delete from 1", "insert 2,a"]);
  });

  it("keeps the journal mode its owner chose, and works in it", async () => {
    const sql = await bench.sql();
    await sql.run("PRAGMA journal_mode = DELETE");
    const { log, source } = await capture(SIMPLE);
    const writer = await bench.sql();
    for (let i = 0; i < 20; i++) await writer.run(`INSERT INTO t VALUES (${i}, 'x')`);
    expect(await takeChanges(log.batches)).toHaveLength(20);
    expect(await sql.rows("PRAGMA journal_mode")).toEqual([["delete"]]);
    const findings = await source.diagnose([await bench.captureTable("t")]);
    expect(findings).toContainEqual(
      expect.objectContaining({
        check: "journal-mode",
        severity: "warning",
        fix: "PRAGMA journal_mode = WAL",
      }),
    );
  });

  it("is freed by a relay that dies", async () => {
    await capture(SIMPLE).then(({ log }) => log.close());
    const script = `
      const { sqlite } = await import(${JSON.stringify(new URL("../../src/databases/sqlite/index.ts", import.meta.url).href)});
      const { silentLogger } = await import(${JSON.stringify(new URL("../../src/core/log.ts", import.meta.url).href)});
      const source = await sqlite.openSource({ name: "x", url: ${JSON.stringify(bench.bed.url)}, logger: silentLogger });
      console.log((await source.openChangeLog()) === null ? "refused" : "held");
      setInterval(() => {}, 1000);`;
    const child = spawn(
      process.execPath,
      ["--experimental-strip-types", "--input-type=module", "-e", script],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    const exited = new Promise((resolve) => child.once("exit", resolve));
    const said = await new Promise((resolve) =>
      child.stdout.once("data", (data) => resolve(String(data).trim())),
    );
    expect(said).toBe("held");
    const source = await bench.source();
    expect(await source.openChangeLog()).toBeNull();
    child.kill("SIGKILL");
    await exited;
    const log = await source.openChangeLog();
    expect(log).not.toBeNull();
    await log?.close();
  });

  /** Root may write whatever it likes. */
  const account = serverAccount();
  it.skipIf(!isReachable(import.meta.dirname, account))(
    "is not opened for reading only, which would leave a -shm that nobody can write",
    async () => {
      const sql = await bench.sql();
      await sql.run("PRAGMA journal_mode = WAL");
      await sql.run(SIMPLE);
      await sql.close();
      if (account !== undefined) {
        for (const each of [dirname(path()), path()]) chownSync(each, account.uid, account.gid);
      }
      chmodSync(path(), 0o444);
      const adapter = new URL("../../src/databases/sqlite/index.ts", import.meta.url).href;
      const script = `
        const { sqlite } = await import(${JSON.stringify(adapter)});
        const opening = sqlite.openSource({ name: "x", url: ${JSON.stringify(bench.bed.url)}, logger: null });
        console.log(await opening.then(() => "opened", ({ code }) => code));`;
      const { stdout } = await promisify(execFile)(
        process.execPath,
        ["--experimental-strip-types", "--input-type=module", "-e", script],
        { ...account, cwd: dirname(path()) },
      );
      expect(stdout.trim()).toBe("TM-READ-ONLY");
      expect(existsSync(`${path()}-shm`)).toBe(false);
    },
  );

  it("is named when it is missing, is a folder, or is no database", async () => {
    const open = (url: string) => sqlite.openSource({ name: "x", url, logger: silentLogger });
    await refuses(open("sqlite:/nowhere/at/all.db"), "TM-CONNECT-FAILED");
    await expect(open("sqlite:/nowhere/at first/all.db")).rejects.toMatchObject({
      fix: "mkdir -p '/nowhere/at first'",
    });
    await refuses(open("sqlite:/tmp"), "TM-CONNECT-FAILED", "TM-SERVER-UNSUPPORTED");
    await refuses(open(`sqlite:${process.execPath}`), "TM-SERVER-UNSUPPORTED");
    await refuses(open("sqlite::memory:"), "TM-URL-INVALID");
    await refuses(open(`${bench.bed.url}?mode=rw&cache=shared`), "TM-URL-INVALID");
    await refuses(open(`${bench.bed.url}?mode=ro&mode=rw`), "TM-URL-INVALID");
  });
});
