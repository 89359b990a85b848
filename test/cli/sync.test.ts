// The commands, as they are typed (G4, G8).
import { existsSync } from "node:fs";
import { readFile, stat, writeFile } from "node:fs/promises";
import type { Readable } from "node:stream";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Envelope, MAIN, Running, Workplace } from "./tidemark.ts";

const PAIR = ["--from", "sqlite:shop.db", "--to", "sqlite:copy.db", "--table", "*"];
const CUSTOMERS = "SELECT id, name FROM customers ORDER BY id";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT NOT NULL)");
  place.sql("shop.db", "INSERT INTO customers VALUES (1, 'Ada'), (2, 'Grace')");
});
afterEach(() => place[Symbol.asyncDispose]());

/** Starts `run` and resolves once every sync follows its source. */
async function startRun(): Promise<Running> {
  const run = new Running(place.start(["run", ...PAIR, "--json"]));
  await run.until<{ status?: { syncs: { state: string }[] } }>(
    ({ status }) => status?.syncs.every(({ state }) => state === "running") ?? false,
  );
  return run;
}

test("run --until-synced copies what is there and ends with 0; run again, and it goes on", async () => {
  const first = await place.json(["run", ...PAIR, "--until-synced"]);
  expect(first.envelope).toMatchObject({ ok: true, result: { synced: true }, error: null });
  expect(first.exitCode).toBe(0);
  expect(place.sql("copy.db", CUSTOMERS)).toEqual(place.sql("shop.db", CUSTOMERS));

  place.sql("shop.db", "UPDATE customers SET name = 'Hedy' WHERE id = 2");
  place.sql("shop.db", "DELETE FROM customers WHERE id = 1");
  expect((await place.start(["run", ...PAIR, "--until-synced"])).exitCode).toBe(0);
  expect(place.sql("copy.db", CUSTOMERS)).toEqual([{ id: 2, name: "Hedy" }]);

  const { envelope } = await place.json(["status", ...PAIR]);
  expect(envelope.result).toMatchObject({
    sources: [{ name: "source", error: null }],
    syncs: [{ name: "source->target", behindBatches: 0, error: null, tables: [{ state: "live" }] }],
  });
});

test("--except leaves tables out of a glob, and every verb takes the arguments of run", async () => {
  place.sql("shop.db", "CREATE TABLE audit_1 (id INTEGER PRIMARY KEY, secret TEXT)");
  place.sql("shop.db", "INSERT INTO audit_1 VALUES (1, 'not for others')");
  const pair = [...PAIR, "--except", "audit_*"];
  const run = await place.json(["run", ...pair, "--until-synced"]);
  expect(run).toMatchObject({ exitCode: 0, envelope: { result: { synced: true } } });
  expect(place.sql("copy.db", CUSTOMERS)).toHaveLength(2);
  const named = "SELECT name FROM sqlite_schema WHERE name LIKE '%audit%' OR sql LIKE '%audit%'";
  expect(place.sql("copy.db", named)).toEqual([]);
  const triggers = "SELECT name FROM sqlite_schema WHERE tbl_name = 'audit_1' AND type = 'trigger'";
  expect(place.sql("shop.db", triggers)).toEqual([]);
  for (const verb of [
    ["status"],
    ["doctor"],
    ["plan"],
    ["parked", "list"],
    ["uninstall", "--dry-run"],
  ]) {
    expect(await place.json([...verb, ...pair]), verb.join(" ")).toMatchObject({ exitCode: 0 });
  }
});

test("wait returns when what was committed can be read; Ctrl-C ends run with 130", async () => {
  const run = await startRun();
  place.sql("shop.db", "INSERT INTO customers VALUES (3, 'Hedy')");
  const waited = await place.json(["wait", ...PAIR, "--timeout", "30s"]);
  expect(waited).toMatchObject({ exitCode: 0, envelope: { error: null } });
  expect(place.sql("copy.db", CUSTOMERS)).toHaveLength(3);

  expect((await run.end("SIGINT")).exitCode).toBe(130);

  const late = await place.json(["wait", ...PAIR, "--timeout", "300ms"]);
  expect(late.exitCode).toBe(1);
  expect(late.envelope.error?.code).toBe("TM-WAIT-TIMEOUT");
});

test("tail prints the changes as they pass; SIGTERM ends run with 143", async () => {
  const run = await startRun();
  const tail = new Running(place.start(["tail", ...PAIR.slice(0, 4), "--json"]));
  // Nothing tells when a reader has begun to listen: rows are added until it has seen one.
  let id = 2;
  const writing = setInterval(() => {
    place.sql("shop.db", `INSERT INTO customers VALUES (${++id}, 'Hedy Lamarr')`);
  }, 100);
  const entry = await tail.until(() => true);
  clearInterval(writing);
  expect(entry).toMatchObject({
    command: "tail",
    event: "change",
    source: "source",
    table: "customers",
    op: "insert",
    key: { id: expect.stringMatching(/^\d+$/) },
    row: { id: expect.stringMatching(/^\d+$/), name: "Hedy Lamarr" },
  });
  const ended = tail.until<Partial<Envelope>>(({ ok }) => ok !== undefined);
  expect((await tail.end("SIGINT")).exitCode).toBe(130);
  expect(await ended).toEqual({ command: "tail", ok: false, result: null, error: null });
  expect((await run.end("SIGTERM")).exitCode).toBe(143);
});

test("tail before the first run makes no queue, and prints all that comes to the one that a run makes", async () => {
  const astray = await place.json(["tail", ...PAIR.slice(0, 4), "--source", "nope"]);
  expect(astray.envelope.error).toMatchObject({ code: "TM-USAGE" });
  const tailing = place.start(["tail", ...PAIR.slice(0, 4)]);
  await says(tailing.stderr, "no queue yet");
  expect(existsSync(place.path(".tidemark"))).toBe(false);
  const row = says(tailing.stdout, /insert.*Hedy/);
  // It finds the queue no sooner than the change is in it.
  tailing.kill("SIGSTOP");
  const run = await startRun();
  {
    // Nor later than the target has it: from then on it goes out of the queue.
    using _target = place.locked("copy.db");
    place.sql("shop.db", "INSERT INTO customers VALUES (3, 'Hedy')");
    await run.until<{ status?: { syncs: { behindBatches: number }[] } }>(
      ({ status }) => status?.syncs.some(({ behindBatches }) => behindBatches > 0) ?? false,
    );
    tailing.kill("SIGCONT");
    await row;
  }
  expect((await place.start(["wait", ...PAIR])).exitCode).toBe(0);
  tailing.kill("SIGINT");
  expect((await tailing).exitCode).toBe(130);
  expect((await run.end("SIGTERM")).exitCode).toBe(143);
});

/** Resolves once it does; without an end, the test has one. */
function says(stream: Readable, what: string | RegExp): Promise<void> {
  let said = "";
  return new Promise((resolve) => {
    stream.on("data", (chunk) => {
      said += chunk;
      if (said.search(what) >= 0) resolve();
    });
  });
}

test("plan prints the statements and the types, and changes nothing", async () => {
  const { stdout, exitCode } = await place.start(["plan", ...PAIR]);
  expect(exitCode).toBe(0);
  expect(stdout).toMatch(/CREATE TRIGGER/);
  expect(stdout).toMatch(/CREATE TABLE .*customers/);
  expect(stdout).toMatch(/customers\.name +TEXT +TEXT +exact/);
  // By which a table is told from another one in its place.
  expect(stdout).toContain("-- each of its tables gets a trigger that never fires");
  expect(place.sql("shop.db", "SELECT name FROM sqlite_schema")).toEqual([{ name: "customers" }]);
  await expect(stat(place.path("copy.db"))).rejects.toMatchObject({ code: "ENOENT" });
});

test("plan shows no name of a table as a statement", async () => {
  place.sql("shop.db", "PRAGMA journal_mode = WAL");
  place.sql("shop.db", 'CREATE TABLE "x\nDROP TABLE customers;" (n)');
  const { stdout, exitCode } = await place.start(["plan", ...PAIR]);
  expect(exitCode).toBe(0);
  const outside = stdout.replace(/"(?:[^"]|"")*"|'(?:[^']|'')*'/g, "");
  expect(stdout).toContain("-- x\\nDROP TABLE customers;");
  expect(outside).not.toMatch(/^DROP/m);
});

test("plan names a column that is refused, and says by its code that run would not start", async () => {
  place.sql("shop.db", "CREATE TABLE codes (code TEXT PRIMARY KEY)");
  place.sql("copy.db", "CREATE TABLE codes (code TEXT COLLATE NOCASE PRIMARY KEY)");
  const text = await place.start(["plan", ...PAIR]);
  expect(text.exitCode).toBe(2);
  expect(text.stdout).toMatch(/codes\.code .* refused +\S/);
  expect(text.stderr).toMatch(/TM-COLUMN-UNFIT {2}1 column is refused/);

  const { envelope, exitCode } = await place.json(["plan", ...PAIR]);
  expect(exitCode).toBe(2);
  expect(envelope).toMatchObject({
    ok: false,
    result: { refused: 1 },
    error: { code: "TM-COLUMN-UNFIT" },
  });
  const run = await place.json(["run", ...PAIR, "--until-synced"]);
  expect(run.envelope.error).toMatchObject({ code: "TM-COLUMN-UNFIT" });
});

test("run --quiet says nothing while all is well, nor does its log unless it is asked for more", async () => {
  const run = `tidemark run --quiet --until-synced ${PAIR.map((word) => `'${word}'`).join(" ")}`;
  const quiet = await place.shell(`unset LOG_LEVEL; ${run}`);
  expect(quiet).toMatchObject({ exitCode: 0, stdout: "", stderr: "" });
  expect(await place.shell(`${run} --log-level debug`)).toMatchObject({
    stderr: expect.stringContaining("debug"),
  });
});

test("doctor finds nothing wrong before the first run, which makes the target's file", async () => {
  const { envelope, exitCode } = await place.json(["doctor", ...PAIR]);
  expect(envelope.result).toMatchObject({ errors: 0 });
  expect(exitCode).toBe(0);
  const text = JSON.stringify(envelope.result);
  expect(text).toContain("There is no queue yet");
  expect(text).toContain("The target has no file yet");
  expect(text).not.toMatch(/is in WAL mode/);
  for (const name of ["copy.db", ".tidemark"]) expect(existsSync(place.path(name))).toBe(false);
  const astray = await place.start(["doctor", ...PAIR.with(3, "sqlite:missing/copy.db")]);
  expect(astray.stdout).toMatch(/✗ TM-CONNECT-FAILED/);
  const nowhere = await place.start(["doctor", ...PAIR, "--queue", "sqlite:shop.db/q/queue.db"]);
  expect(nowhere.stdout).toMatch(/✗ TM-CONNECT-FAILED: The queue file/);
});

test("status before the first run says that there is no queue, makes none, and finds the one that a run makes", async () => {
  const { envelope, exitCode } = await place.json(["status", ...PAIR]);
  expect(exitCode).toBe(0);
  expect(envelope.result).toMatchObject({
    queue: { exists: false },
    syncs: [{ state: "unknown" }],
  });
  expect((await place.start(["status", ...PAIR])).stdout).toContain("There is no queue yet");
  const watching = new Running(place.start(["status", ...PAIR, "--watch", "--json"]));
  type Shown = { status?: { queue: { exists: boolean }; syncs: { state: string }[] } };
  await watching.until<Shown>(({ status }) => status?.queue.exists === false);
  expect(existsSync(place.path(".tidemark"))).toBe(false);
  const run = await startRun();
  await watching.until<Shown>(({ status }) => status?.syncs[0]?.state === "running");
  expect((await watching.end("SIGINT")).exitCode).toBe(130);
  expect((await run.end("SIGTERM")).exitCode).toBe(143);
});

test("wait, parked and resync before the first run make no queue, and a wait finds the one that a run makes", async () => {
  const nope = await place.json(["wait", ...PAIR, "--sync", "nope"]);
  expect(nope.envelope.error).toMatchObject({ code: "TM-USAGE" });
  const early = await place.json(["wait", ...PAIR, "--timeout", "1ms"]);
  expect(early.envelope.error).toMatchObject({
    code: "TM-WAIT-TIMEOUT",
    message: expect.stringContaining("there is no queue yet"),
  });
  const nowhere = await place.json(["wait", ...PAIR, "--queue", "sqlite:shop.db/q/queue.db"]);
  expect(nowhere.envelope.error).toMatchObject({ code: "TM-CONNECT-FAILED" });
  const retried = await place.json(["parked", "retry", "--all", ...PAIR]);
  expect(retried.exitCode).toBe(0);
  expect(existsSync(place.path(".tidemark"))).toBe(false);
  const waiting = place.start(["wait", ...PAIR]);
  const run = await startRun();
  expect((await waiting).exitCode).toBe(0);
  expect((await run.end("SIGTERM")).exitCode).toBe(143);
});

test("doctor finds nothing wrong while it runs, and a dropped trigger afterwards", async () => {
  await place.start(["run", ...PAIR, "--until-synced"]);
  const well = await place.json(["doctor", ...PAIR]);
  const told = ["queue", "source", "target"].map((database) => ({ database }));
  expect(well.envelope.result).toMatchObject({ databases: told, errors: 0 });
  expect(well.exitCode).toBe(0);

  const [trigger] = place.sql("shop.db", "SELECT name FROM sqlite_schema WHERE type = 'trigger'");
  place.sql("shop.db", `DROP TRIGGER "${trigger?.name}"`);
  const ill = await place.start(["doctor", ...PAIR]);
  expect(ill.exitCode).toBe(1);
  expect(ill.stdout).toMatch(/✗ .*customers/);
  expect(ill.stdout).toMatch(/fix: /);
});

test("doctor tells of a database once, whatever number of syncs it is in", async () => {
  place.sql("south.db", "CREATE TABLE sales (id INTEGER PRIMARY KEY)");
  await writeFile(
    place.path("tidemark.yaml"),
    `databases: { shop: 'sqlite:shop.db', south: 'sqlite:south.db', copy: 'sqlite:copy.db' }
syncs: [{ from: shop, to: copy, tables: [customers] }, { from: south, to: copy, tables: [sales] }]\n`,
  );
  const { envelope } = await place.json(["doctor"]);
  expect(envelope.result).toMatchObject({
    databases: [{}, {}, {}, { database: "copy", findings: [{ check: "journal-mode" }] }],
  });
});

test("doctor and run name what keeps a change log: a sync that is gone, and a source that is none any more", async () => {
  const databases =
    "databases: { shop: 'sqlite:shop.db', copy: 'sqlite:copy.db', old: 'sqlite:old.db' }";
  const configure = (syncs: string) =>
    writeFile(place.path("tidemark.yaml"), `${databases}\nsyncs: ${syncs}\n`);
  await configure("[{ from: shop, to: [copy, old], tables: [customers] }]");
  await place.start(["run", "--until-synced"]);

  await configure("[{ from: shop, to: copy, tables: [customers] }]");
  const held = await place.start(["doctor"]);
  const release = /run: (ATTACH '.*' AS records; DELETE FROM .* WHERE sync = 'shop->old');/;
  expect(held.stdout).toMatch(release);
  place.sql("shop.db", release.exec(held.stdout)?.[1] ?? "");
  expect((await place.start(["doctor"])).stdout).not.toMatch(/change log/);

  await configure("[{ from: copy, to: shop, tables: [customers] }]");
  const unread = /changes of "shop" are logged, and no sync .* tidemark uninstall --database shop/s;
  expect((await place.start(["doctor"])).stdout).toMatch(unread);
  expect((await place.start(["run", "--until-synced"])).stderr).toMatch(unread);
});

test("every field that --json prints is told in commands.md", async () => {
  const page = await readFile(new URL("../../docs/reference/commands.md", import.meta.url), "utf8");
  const [, told = ""] = page.split("\n## JSON\n");
  const untold = new Set<string>();
  const look = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [key, inner] of Object.entries(value)) {
      if (!Array.isArray(value) && !new RegExp(`[\`"]${key}[\`"]`).test(told)) untold.add(key);
      if (key !== "details") look(inner);
    }
  };
  for (const args of [
    ["run", ...PAIR, "--until-synced"],
    ["plan", ...PAIR],
    ["doctor", ...PAIR],
    ["status", ...PAIR],
    ["parked", "list", ...PAIR],
    ["resync", "customers", ...PAIR, "--yes"],
    ["uninstall", ...PAIR, "--dry-run"],
    ["wait", ...PAIR, "--timeout", "300ms"],
    ["init", "--from", "sqlite:a.db", "--to", "sqlite:b.db", "--table", "t"],
  ]) {
    const { lines } = await place.json(args);
    lines.forEach(look);
  }
  expect([...untold]).toEqual([]);
});

test.each([
  ["source", "shop.db?mode=ro", "copy.db"],
  ["target", "shop.db", "copy.db?mode=ro"],
])("run refuses a %s that is to be read alone, and plan looks at it", async (name, from, to) => {
  place.sql("copy.db", "CREATE TABLE customers (id INTEGER PRIMARY KEY, name TEXT)");
  const pair = ["--from", `sqlite:${from}`, "--to", `sqlite:${to}`, "--table", "customers"];
  expect((await place.start(["plan", ...pair])).exitCode).toBe(0);
  const { stderr, exitCode } = await place.start(["run", ...pair]);
  expect(stderr).toContain(`Leave ?mode=ro out of the URL of "${name}".`);
  expect(exitCode).toBe(2);
});

test("uninstall asks, shows, and leaves no trace", async () => {
  await place.start(["run", ...PAIR, "--until-synced"]);
  const ours = "SELECT name FROM sqlite_schema WHERE name LIKE 'tidemark%'";
  expect(place.sql("shop.db", ours)).not.toEqual([]);
  expect(existsSync(place.path("shop.db-tidemark"))).toBe(true);

  const unconfirmed = await place.start(["uninstall", ...PAIR]);
  expect(unconfirmed.exitCode).toBe(2);
  expect(unconfirmed.stderr).toContain(
    "fix: tidemark uninstall --from sqlite:shop.db --to sqlite:copy.db --table '*' --yes\n",
  );
  const dry = await place.start(["uninstall", ...PAIR, "--dry-run"]);
  expect(dry.stdout).toMatch(/DROP TRIGGER/);
  expect(place.sql("shop.db", ours)).not.toEqual([]);

  const removed = await place.start(["uninstall", ...PAIR, "--yes"]);
  expect(removed.exitCode).toBe(0);
  const queue = /^The queue stays, .*: sqlite:(.*queue\.db) /m.exec(removed.stdout)?.[1] ?? "";
  expect(existsSync(queue)).toBe(true);
  expect(place.sql("shop.db", ours)).toEqual([]);
  expect(existsSync(place.path("shop.db-tidemark"))).toBe(false);
  expect(place.sql("copy.db", ours)).toEqual([]);
  expect(place.sql("copy.db", CUSTOMERS)).toHaveLength(2);
  await place.start(["run", ...PAIR, "--until-synced"]);
  const { envelope } = await place.json(["uninstall", ...PAIR, "--yes"]);
  expect(envelope).toMatchObject({ result: { removed: true, queue: `sqlite:${queue}` } });
});

test.each([
  ["a table that is not there", ["--table", "custmers"], "TM-TABLE-MISSING", 2],
  ["a table whose rows cannot be told apart", ["--table", "notes"], "TM-TABLE-NO-KEY", 2],
  [
    "an unknown scheme",
    ["--table", "customers", "--queue", "carrier-pigeon://x"],
    "TM-URL-INVALID",
    2,
  ],
  ["a database that is not there", ["--database", "nowhere", "--table", "*"], "TM-USAGE", 2],
])("%s: a coded error before anything is changed", async (_title, args, code, exitCode) => {
  place.sql("shop.db", "CREATE TABLE notes (text TEXT UNIQUE)");
  const ended = await place.json(["run", ...PAIR.slice(0, 4), ...args]);
  expect(ended.envelope.error).toMatchObject({ code, fix: expect.any(String) });
  expect(ended.exitCode).toBe(exitCode);
  const schema = place.sql(
    "shop.db",
    "SELECT name FROM sqlite_schema WHERE type <> 'index' ORDER BY 1",
  );
  expect(schema).toEqual([{ name: "customers" }, { name: "notes" }]);
});

test("SIGHUP: run goes on where nothing of it is on a terminal, as under nohup", async () => {
  const run = await startRun();
  run.kill("SIGHUP");
  place.sql("shop.db", "INSERT INTO customers VALUES (3, 'Hedy')");
  expect((await place.start(["wait", ...PAIR, "--timeout", "30s"])).exitCode).toBe(0);
  expect((await run.end("SIGTERM")).exitCode).toBe(143);
});

test.runIf(existsSync("/usr/bin/script"))(
  "SIGHUP: run ends cleanly with the terminal that is closed, however often it is told",
  async () => {
    const script = `script -qefc 'exec "${process.execPath}" "${MAIN}" run ${PAIR.join(" ").replace("*", "customers")}' /dev/null`;
    const pair = [...PAIR.slice(0, 5), "customers"];
    const ended = await place.shell(
      `${script} > shown < /dev/null & tidemark wait ${pair.join(" ")} --timeout 30s > waited; ` +
        "run=$(pgrep -P $!); kill -HUP $run; kill -HUP $run; wait $!",
    );
    expect(ended.exitCode).toBe(129);
    const { envelope } = await place.json(["status", ...pair]);
    expect(envelope.result).toMatchObject({ sources: [{ state: "stopped" }] });
  },
);
