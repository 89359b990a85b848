// Where nobody reads what a command prints, or a disk is full: what it ends by, and that `run` works on (G4, G8).
import { existsSync } from "node:fs";
import { afterEach, beforeEach, expect, test } from "vitest";
import { Workplace } from "./tidemark.ts";

const ENDS = ["--from", "sqlite:shop.db", "--to", "sqlite:copy.db"];
const PAIR = [...ENDS, "--table", "customers"];
/** A disk without space; elsewhere than on Linux there is none. */
const FULL = "/dev/full";
const ROWS = "SELECT id FROM customers ORDER BY id";

let place: Workplace;
beforeEach(async () => {
  place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE customers (id INTEGER PRIMARY KEY)");
  place.sql("shop.db", "INSERT INTO customers VALUES (1), (2)");
});
afterEach(() => place[Symbol.asyncDispose]());

/** Starts `tidemark` and takes no more than the first of what it says. */
function startUnread(args: readonly string[]) {
  const command = place.start(args);
  command.stdout.once("data", () => command.stdout.destroy());
  return command;
}

test.each([[[]], [["--json"]]])("run --until-synced %j | true copies everything", async (more) => {
  const ran = await place.shell(
    `tidemark run ${PAIR.join(" ")} --until-synced ${more.join("")} | true`,
  );
  expect(ran).toMatchObject({ exitCode: 0, stderr: "" });
  expect(place.sql("copy.db", ROWS)).toHaveLength(2);
});

test("run | head -1 goes on until it is stopped", async () => {
  const run = startUnread(["run", ...PAIR]);
  await new Promise((resolve) => run.stdout.once("close", resolve));
  for (const id of [3, 4]) {
    place.sql("shop.db", `INSERT INTO customers VALUES (${id})`);
    expect((await place.start(["wait", ...PAIR, "--timeout", "30s"])).exitCode).toBe(0);
    expect(place.sql("copy.db", ROWS)).toHaveLength(id);
  }
  run.kill("SIGINT");
  expect(await run).toMatchObject({ exitCode: 130, stderr: "" });
});

test("a run that fails keeps its exit code, whoever reads", async () => {
  const failed = await place.shell("tidemark run --database nowhere --json | true");
  expect(failed.exitCode).toBe(2);
  const usage = await place.shell("tidemark frobnicate --json | true");
  expect(usage.exitCode).toBe(2);
});

test("tail takes a closed pipe for enough, not a full disk", async () => {
  const run = place.start(["run", ...PAIR]);
  // Where there is no queue yet, a reader says so.
  await place.start(["wait", ...PAIR, "--timeout", "30s"]);
  // Nothing tells when a reader has begun to listen: rows are added until both have had one.
  let id = 2;
  const writing = setInterval(() => {
    place.sql("shop.db", `INSERT INTO customers VALUES (${++id})`);
  }, 100);
  const [enough, full] = await Promise.all([
    place.shell(`tidemark tail ${ENDS.join(" ")} | true`),
    place.shell(`tidemark tail ${ENDS.join(" ")} > ${FULL}`),
  ]);
  clearInterval(writing);
  run.kill("SIGINT");
  await run;
  expect(enough).toMatchObject({ exitCode: 0, stderr: "" });
  if (existsSync(FULL)) expect(full.exitCode).toBe(3);
});

test.runIf(process.platform === "linux")(
  "run works on for a reader that does not read, and ends when it is told to",
  async () => {
    const ran = await place.shell(
      `mkfifo pipe; exec 7<>pipe; head -c 65536 /dev/zero >&7; tidemark run ${PAIR.join(" ")} --json >&7 & ` +
        `tidemark wait ${PAIR.join(" ")} --timeout 30s > waited; run=$(pgrep -P $!); kill -TERM $run; ` +
        "timeout 20 tail --pid=$run -f /dev/null || kill -KILL $run; wait $!",
    );
    expect(ran).toMatchObject({ exitCode: 143, stderr: "" });
    expect(place.sql("copy.db", ROWS)).toHaveLength(2);
  },
);

test.runIf(process.platform === "linux")(
  "tail reads no further ahead than its reader (G7)",
  async () => {
    place.sql("shop.db", "CREATE TABLE texts (id INTEGER PRIMARY KEY, text TEXT)");
    const texts = [...ENDS, "--table", "texts"];
    await place.start(["run", ...texts, "--until-synced"]);
    place.sql(
      "shop.db",
      "WITH RECURSIVE ids(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM ids WHERE id < 400) INSERT INTO texts SELECT id, hex(zeroblob(500000)) FROM ids",
    );
    // Nobody confirms them, so the queue keeps them all.
    const relay = place.start(["run", ...texts, "--role", "relay"]);
    // The pause decides nothing but how far ahead a tail that does not wait would get.
    const { stdout } = await place.shell(
      `mkfifo pipe; tidemark tail ${texts.join(" ")} --from-start --json > pipe & exec 7<pipe; sleep 3; ` +
        "head -n 400 <&7 | tr -dc '\n' | wc -c; tail=$(pgrep -P $!); grep VmHWM /proc/$tail/status; kill $tail; wait",
    );
    relay.kill("SIGTERM");
    await relay;
    const [lines, , kilobytes] = stdout.split(/\s+/).map(Number);
    expect(lines).toBe(400);
    // A few rows, what the engine has not collected yet, and the program; all of them would be more than twice as much.
    expect(kilobytes).toBeLessThan(450_000);
  },
);

test("the other commands end quietly with 1 where a pipe is closed", async () => {
  const watch = await place.shell(`tidemark status ${ENDS.join(" ")} --watch | head -1`);
  expect(watch).toMatchObject({ exitCode: 1, stderr: "" });
  const help = await place.shell("tidemark --help | true");
  expect(help).toMatchObject({ exitCode: 1, stderr: "" });
});

test.runIf(existsSync(FULL))("a result that finds no space is a failure", async () => {
  const ended = await place.shell(`tidemark status ${ENDS.join(" ")} --json > ${FULL}`);
  expect(ended.exitCode).toBe(3);
  expect(ended.stderr).toMatch(/^TM-DISK-FULL {2}Stdout could not be written: ENOSPC/);
  expect(ended.stderr).toMatch(/^fix: /m);

  const run = await place.shell(`tidemark run ${PAIR.join(" ")} --until-synced > ${FULL}`);
  expect(run.exitCode).toBe(3);
  expect(run.stderr.match(/TM-DISK-FULL {2}/g)).toHaveLength(1);
  expect(place.sql("copy.db", ROWS)).toHaveLength(2);

  const silent = await place.shell(`tidemark wait --quiet ${ENDS.join(" ")} --timeout x > ${FULL}`);
  expect(silent.exitCode).toBe(2);
  expect(silent.stderr).toMatch(/^TM-USAGE {2}/);
  const quiet = await place.shell(
    `tidemark run --quiet ${PAIR.join(" ")} --until-synced > ${FULL}`,
  );
  expect(quiet).toMatchObject({ exitCode: 0, stderr: "" });
});

test.runIf(process.platform === "linux")(
  "a result of which only the beginning finds space is one, too",
  async () => {
    await place.start(["run", ...PAIR, "--until-synced"]);
    // The limit of the shell, in KiB, is that of a disk nearly full.
    const ended = await place.shell(
      `head -c 1000 /dev/zero > out; trap "" XFSZ; ulimit -f 1; tidemark plan ${PAIR.join(" ")} --json >> out`,
    );
    expect(ended.exitCode).toBe(3);
    expect(ended.stderr).toMatch(/^TM-DISK-FULL {2}/);
  },
);
