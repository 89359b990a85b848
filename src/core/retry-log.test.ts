import { expect, test } from "vitest";
import { silentLogger } from "./log.ts";
import { RetryLog } from "./retry-log.ts";

const REFUSED = new Error("connection refused");
const PASSWORD = new Error("wrong password");

/** What was told of each failure: when, and the number it was told with. */
function told(during: (log: RetryLog, at: (ms: number) => number) => void): readonly string[] {
  const lines: string[] = [];
  let now = 0;
  const warn = (fields: { err: Error; failures?: number }, message: string) =>
    lines.push(`${now} ${message}: ${fields.err.message} ${fields.failures ?? 1}`);
  during(new RetryLog({ ...silentLogger, warn }, "interrupted"), (ms) => {
    now = ms;
    return now;
  });
  return lines;
}

test("an outage is told when it begins, and once a minute", () => {
  const lines = told((log, at) => {
    for (let ms = 0; ms <= 150_000; ms += 3_000) log.failed(REFUSED, at(ms));
  });
  expect(lines).toEqual([
    "0 interrupted: trying again: connection refused 1",
    "60000 interrupted: trying again: connection refused 21",
    "120000 interrupted: trying again: connection refused 41",
  ]);
});

test("what fails in another way is told at once, and what fails after it has worked", () => {
  const lines = told((log, at) => {
    log.failed(REFUSED, at(0));
    log.failed(PASSWORD, at(1));
    log.failed(REFUSED, at(2));
    log.failed(REFUSED, at(3));
    log.succeeded();
    log.failed(REFUSED, at(4));
  });
  expect(lines).toEqual([
    "0 interrupted: trying again: connection refused 1",
    "1 interrupted: trying again: wrong password 2",
    "2 interrupted: trying again: connection refused 3",
    "4 interrupted: trying again: connection refused 1",
  ]);
});
