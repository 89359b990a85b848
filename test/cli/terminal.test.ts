// What a terminal shows: one that nobody gave a size, as a container's or that of a job; and one that asks (G8).
import { readFile } from "node:fs/promises";
import { describe, expect, test } from "vitest";
import { MAIN, Workplace } from "./tidemark.ts";

test.skipIf(process.platform !== "linux")("status is seen without a size", async () => {
  await using place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)");
  const status = `"${process.execPath}" "${MAIN}" status --watch --from sqlite:shop.db --to sqlite:copy.db`;
  const watch = place.shell(
    `exec script -qec 'stty cols 0 rows 0; exec ${status}' /dev/null < /dev/null`,
  );
  let seen = "";
  for await (const line of watch.readable()) {
    seen += line;
    if (seen.includes("source->target")) break;
  }
  expect(seen).toContain("source->target");
  watch.kill("SIGTERM");
  await watch;
});

describe.skipIf(process.platform !== "linux")("run", () => {
  /** Copies a table over a row that stands, which the log warns of, in a terminal of 60 columns; gives what was shown there. */
  async function shown(place: Workplace, more: string): Promise<string> {
    place.sql("shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (1)");
    place.sql("copy.db", "CREATE TABLE t (id INTEGER PRIMARY KEY); INSERT INTO t VALUES (2)");
    const run = `"${process.execPath}" "${MAIN}" run --from sqlite:shop.db --to sqlite:copy.db --table t ${more}`;
    const terminal = place.shell(
      `exec script -qec 'stty cols 60 rows 20; exec ${run}' /dev/null < /dev/null`,
    );
    let seen = "";
    for await (const line of terminal.readable()) {
      seen += line;
      if (/target {2}running/.test(seen) && !more.includes("until")) break;
    }
    terminal.kill("SIGTERM");
    await terminal;
    return seen;
  }
  const WARNING = "target's table holds rows already";

  test("tells a warning to its end, however narrow the terminal", async () => {
    await using place = await Workplace.make();
    const before = (await shown(place, "")).split(WARNING)[0] ?? "";
    // Whether lines are wrapped or cut is what was said last.
    expect(before.lastIndexOf("\u001b[?7h")).toBeGreaterThan(before.lastIndexOf("\u001b[?7l"));
  });

  test("leaves its last lines whole", async () => {
    await using place = await Workplace.make();
    const seen = await shown(place, "--until-synced");
    const last = seen.slice(seen.lastIndexOf("\u001b[?7h"));
    expect(last).toMatch(
      /source->target {2}running {2}batch \d+ {2}0 changes \(0\/s\) {2}lag \d+ ms\s*$/,
    );
  });

  test("shows how it goes where the log goes elsewhere, and leaves that what it is", async () => {
    await using place = await Workplace.make();
    expect(await shown(place, "2> log")).not.toContain(WARNING);
    const log = await readFile(place.path("log"), "utf8");
    expect(log).toContain(WARNING);
    expect(log).not.toContain("source->target  ");
  });
});

describe.skipIf(process.platform !== "linux")("init asks", () => {
  /** Answers each question as its words appear; gives the end of what was shown. */
  async function asked(place: Workplace, answers: readonly (readonly [string, string])[]) {
    const init = `"${process.execPath}" "${MAIN}" init`;
    const terminal = place.shell(
      `exec script -qec 'stty cols 120 rows 30; exec ${init}' /dev/null`,
    );
    const left = [...answers];
    let shown = "";
    terminal.stdout.on("data", (data: Buffer) => {
      shown += data.toString();
      const [words, answer] = left[0] ?? [null, ""];
      if (words === null || !shown.includes(words)) return;
      left.shift();
      shown = "";
      terminal.stdin.write(answer);
    });
    const { exitCode } = await terminal;
    expect(left).toEqual([]);
    return { exitCode, shown };
  }

  const CLEAR = "\u0015";

  test("and tells at each question what is wrong with the answer", async () => {
    await using place = await Workplace.make();
    const { exitCode } = await asked(place, [
      ["come from", "shop.db\r"],
      ["must be a connection URL", `${CLEAR}sqlite:./shop.db\r`],
      ["shall they go", "sqlite:./shop.db\r"],
      ["to itself", `${CLEAR}sqlite:./copy.db\r`],
      ["Which tables", "orders, customers,\r"],
    ]);
    expect(exitCode).toBe(0);
    const text = await readFile(place.path("tidemark.yaml"), "utf8");
    expect(text).toMatch(/tables:\n {6}- orders\n {6}- customers\n {6}#/);
  });

  test("and takes no table named for all of them", async () => {
    await using place = await Workplace.make();
    const answers = [
      ["come from", "sqlite:./shop.db\r"],
      ["shall they go", "sqlite:./copy.db\r"],
      ["Which tables", "\r"],
    ] as const;
    expect((await asked(place, answers)).exitCode).toBe(0);
    expect(await readFile(place.path("tidemark.yaml"), "utf8")).toContain('      - "*"\n');
  });

  test.each([
    ["Ctrl-C", "\u0003"],
    ["Ctrl-D", "\u0004"],
  ])("and writes nothing after %s", async (_, key) => {
    await using place = await Workplace.make();
    const answers = [
      ["come from", "sqlite:./shop.db\r"],
      ["shall they go", key],
    ] as const;
    const { exitCode, shown } = await asked(place, answers);
    expect(exitCode).toBe(2);
    expect(shown).toContain("Cancelled: nothing was written.");
    expect(shown).not.toContain("unsettled");
  });
});
