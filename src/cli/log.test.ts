// What whoever reads the log of `run` learns from a line of an error (G8).
import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { TidemarkError } from "../core/errors.ts";
import { Log } from "./log.ts";

function logged(work: (log: Log) => void): string {
  const log = new Log({ level: "warn" });
  const lines: string[] = [];
  log.through((line) => lines.push(line));
  work(log);
  return stripVTControlCharacters(lines.join("")).replace(/^\S+ /gm, "");
}

test("names the code and the way out of what ends a sync", () => {
  const error = new TidemarkError("TM-AUTH-FAILED", "a refused the login: bad password.", {
    fix: "Correct it.",
    cause: new Error("bad password"),
  });
  expect(logged(({ logger }) => logger.error({ err: error, worker: "a" }, "stopped"))).toBe(
    "error stopped: TM-AUTH-FAILED a refused the login: bad password.  worker=a fix=Correct it.\n",
  );
});

test("says what the driver said where that is more, and no fix of what is tried again", () => {
  const error = new TidemarkError("TM-CONNECT-FAILED", "a cannot be reached.", {
    fix: "Start it.",
    cause: new Error("connect ECONNREFUSED 127.0.0.1:1"),
  });
  expect(logged(({ logger }) => logger.warn({ err: error }, "trying again"))).toBe(
    "warn  trying again: TM-CONNECT-FAILED a cannot be reached: connect ECONNREFUSED 127.0.0.1:1\n",
  );
  expect(logged(({ logger }) => logger.warn({ err: new Error("other") }, "odd"))).toBe(
    "warn  odd: other\n",
  );
});
