import { once } from "node:events";
import { chmod, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { execa } from "execa";
import { afterEach, beforeEach, expect, test } from "vitest";
import { MAIN, Workplace } from "./tidemark.ts";

const VERBS = [
  "demo",
  "init",
  "doctor",
  "plan",
  "run",
  "status",
  "wait",
  "tail",
  "parked",
  "resync",
  "uninstall",
];

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
});
afterEach(() => place[Symbol.asyncDispose]());

test("help lists the verbs, and nothing that is not there", async () => {
  const { stdout, exitCode } = await place.start(["--help"]);
  expect(exitCode).toBe(0);
  const listed = [...stdout.matchAll(/^ {2}(\w+) \[options\]/gm)].map((match) => match[1]);
  expect(listed).toEqual(VERBS);
});

test("each verb's help ends with an example", async () => {
  const helps = await Promise.all(VERBS.map((verb) => place.start([verb, "--help"])));
  for (const [index, { stdout, exitCode }] of helps.entries()) {
    expect(exitCode).toBe(0);
    expect(stdout).toMatch(new RegExp(`Examples?:\\n {2}tidemark ${VERBS[index]}`));
    for (const option of ["--config", "--json", "--quiet", "--log-level"]) {
      expect(stdout).toContain(option);
    }
  }
});

test.each([
  [["frobnicate"], /Unknown command 'frobnicate'/],
  [["run", "--frm", "x"], /Unknown option '--frm' \(Did you mean --from\?\)/],
  [["run", "--role", "boss"], /relay, applier/],
  [["run", "--from", "sqlite:a.db"], /--from and --to are both needed/],
  [["run", "--from", "sqlite:a.db", "--to", "sqlite:b.db"], /No table is named/],
  [["wait", "--timeout", "30"], /"30" is not a duration/],
  [["init", "--from", "sqlite:a.db"], /--from, --to and --table are needed/],
  [["run", "extra"], /too many arguments/i],
  [["init", "--config", ".", "--force"], /is a folder/],
  [["init", "--config", "missing/shop.yaml"], /There is no folder/],
  // A config that no other command would take.
  [["init", "--config", "shop.txt"], /another ending/],
  [["demo", "--folder", MAIN], /The demo cannot have/],
])("wrong usage %j: exit 2, a code and a way out", async (args, message) => {
  const { stderr, stdout, exitCode } = await place.start(args);
  expect(exitCode).toBe(2);
  expect(stdout).toBe("");
  expect(stderr).toMatch(/^TM-USAGE {2}/);
  expect(stderr).toMatch(message);
  expect(stderr).toMatch(/^fix: /m);
  expect(stderr).not.toMatch(/^\s+at /m);
});

test("a folder given as the config is told as one, and a broken JSON as JSON", async () => {
  const folder = await place.json(["plan", "--config", "."]);
  expect(folder.exitCode).toBe(2);
  expect(folder.envelope.error).toMatchObject({
    code: "TM-CONFIG-NOT-FOUND",
    message: expect.stringContaining("is a folder"),
  });
  await writeFile(place.path("tidemark.json"), '{"databases":');
  const broken = await place.json(["plan"]);
  expect(broken.exitCode).toBe(2);
  expect(broken.envelope.error).toMatchObject({
    code: "TM-CONFIG-INVALID",
    fix: expect.stringContaining("JSON"),
  });
});

test("a failpoint that there is not: exit 2, and the names of those that there are", async () => {
  const args = ["run", "--from", "sqlite:a.db", "--to", "sqlite:b.db", "--table", "*"];
  const { envelope, exitCode } = await place.json(args, { TIDEMARK_FAILPOINT: "comitted:kill" });
  expect(exitCode).toBe(2);
  expect(envelope.error).toMatchObject({
    code: "TM-USAGE",
    fix: expect.stringMatching(/cut-stored, .*committed/),
  });
});

test("--json: one envelope on stdout, nothing else", async () => {
  const { envelope, exitCode, lines } = await place.json(["status"]);
  expect(exitCode).toBe(2);
  expect(lines).toHaveLength(1);
  expect(envelope).toMatchObject({
    command: "status",
    ok: false,
    result: null,
    error: { code: "TM-CONFIG-NOT-FOUND", fix: expect.stringContaining("tidemark init") },
  });
  expect((await place.json(["frob"])).envelope.error?.code).toBe("TM-USAGE");
});

test("a mistake in the config: file, line, key and suggestion; nothing is touched", async () => {
  await writeFile(
    place.path("tidemark.yaml"),
    "databases: { a: 'sqlite:a.db', b: 'sqlite:b.db' }\nsyncs:\n  - from: a\n    sink: b\n    tables: [t]\n",
  );
  const { stderr, exitCode } = await place.start(["run"]);
  expect(exitCode).toBe(2);
  expect(stderr).toContain(
    'tidemark.yaml:4: syncs[0].sink is not a key of the config. Did you mean "to"?',
  );
  await expect(stat(place.path("a.db"))).rejects.toMatchObject({ code: "ENOENT" });
});

test("init writes a config that loads, hides it when it holds a password, overwrites only when told", async () => {
  const args = ["init", "--from", "postgres://sync:s3cret@db/shop", "--to", "sqlite:./copy.db"];
  const first = await place.start([...args, "--table", "public.*"]);
  expect(first.exitCode).toBe(0);
  expect(first.stderr).toContain("holds a password");
  expect(first.stdout + first.stderr).not.toContain("s3cret");
  expect(first.stdout).toMatch(/tidemark run$/);
  const file = place.path("tidemark.yaml");
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect(await readFile(file, "utf8")).toContain('- "public.*"');

  expect((await place.start([...args, "--table", "x"])).exitCode).toBe(2);
  await chmod(file, 0o644);
  const again = await place.start([
    "init",
    "--from",
    "env:SHOP",
    "--to",
    "sqlite:c.db",
    "--table",
    "*",
    "--force",
  ]);
  expect(again.stderr).toBe("");
  expect(await readFile(file, "utf8")).toMatch(/source: "\$\{SHOP\}"/);
});

test.runIf(process.platform === "linux")(
  "init leaves the config that it was to overwrite where there is no room for another",
  async () => {
    const args = ["--from", "sqlite:a.db", "--to", "sqlite:b.db", "--table", "t"];
    await place.start(["init", ...args]);
    const before = await readFile(place.path("tidemark.yaml"), "utf8");
    const command = [process.execPath, MAIN, "init", ...args, "--table", "u", "--force"];
    // No file may grow beyond nothing, as on a full disk.
    const limited = ["-c", 'trap "" XFSZ; ulimit -f 0; exec "$@"', "sh", ...command];
    const end = await execa("/bin/sh", limited, { cwd: place.folder, reject: false });
    expect([end.exitCode, end.stderr]).toEqual([3, expect.stringContaining("TM-DISK-FULL")]);
    expect(await readdir(place.folder)).toEqual(["tidemark.yaml"]);
    expect(await readFile(place.path("tidemark.yaml"), "utf8")).toBe(before);
  },
);

test.runIf(process.platform === "linux")("init tells of a folder that takes no file", async () => {
  const args = ["--from", "sqlite:a.db", "--to", "sqlite:b.db", "--table", "t"];
  // For root, too.
  const { stderr, exitCode } = await place.start(["init", ...args, "--config", "/proc/shop.yaml"]);
  expect(exitCode).toBe(2);
  expect(stderr).toMatch(/^TM-USAGE {2}\/proc\/shop\.yaml cannot be written: .*\nfix: .*--config/);
});

test.each(["", "WARN"])("LOG_LEVEL may be %j in an environment of others", async (level) => {
  const args = ["status", "--from", "sqlite:a.db", "--to", "sqlite:b.db"];
  const { stderr, exitCode } = await place.start(args, { LOG_LEVEL: level });
  expect([exitCode, stderr]).toEqual([0, ""]);
});

test("init writes no config of a database that nothing here knows", async () => {
  const args = ["init", "--from", "mongodb://db/shop", "--to", "sqlite:b.db", "--table", "t"];
  const { stderr, exitCode } = await place.start(args);
  expect([exitCode, stderr]).toEqual([2, expect.stringContaining('the scheme "mongodb"')]);
  expect(await readdir(place.folder)).toEqual([]);
});

test("init names the commands for the config that it wrote", async () => {
  const args = ["--from", "sqlite:a.db", "--to", "sqlite:b.db", "--table", "t"];
  const { stdout } = await place.start(["init", "--config", "my shop.yaml", ...args]);
  expect(stdout).toMatch(/tidemark run --config 'my shop\.yaml'$/);
});

test.runIf(process.platform === "linux")(
  "a password on the command line is hidden from the process list",
  async () => {
    // A server that accepts and never answers keeps the command waiting.
    await using server = createServer().listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as { port: number };
    const url = `postgres://sync:s3cret@127.0.0.1:${port}/shop`;
    const command = place.start(["plan", "--from", url, "--to", "sqlite:b.db", "--table", "*"]);
    const [socket] = await once(server, "connection");
    const list = await readFile(`/proc/${command.pid}/cmdline`, "utf8");
    expect(list).toMatch(/^tidemark plan/);
    expect(list).not.toContain("s3cret");
    socket.destroy();
    const { stdout, stderr, exitCode } = await command;
    expect(exitCode).toBe(3);
    expect(stderr).toContain("warning: a password stands on the command line");
    expect(stderr).toContain("--from env:SOURCE_URL");
    expect(stdout + stderr).not.toContain("s3cret");
  },
);

test.each([
  [["--from", "sqlite:a.db", "--to", "mysql://u:s3cret@127.0.0.1:1/b"], "--to env:TARGET_URL"],
  [["--from", "sqlite:a.db", "--to=mysql://u:s3cret@127.0.0.1:1/b"], "--to env:TARGET_URL"],
  [
    ["--from", "sqlite:a.db", "--to", "sqlite:b.db", "--queue", "nats://u:s3cret@127.0.0.1:1"],
    "--queue env:QUEUE_URL",
  ],
])("the warning of a password names the option that holds it: %s", async (args, instead) => {
  const { stderr } = await place.start(["plan", ...args, "--table", "*"]);
  expect(stderr).toContain(`Give the URL through the environment instead: ${instead}`);
});
