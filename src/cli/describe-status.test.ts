// What whoever looks at `status` reads of what does not work (G8).
import { stripVTControlCharacters } from "node:util";
import { expect, test } from "vitest";
import { type StatusError, UNKNOWN_SOURCE, UNKNOWN_SYNC } from "../core/documents.ts";
import { describeStatus } from "./describe-status.ts";

const AT = "2026-01-01T00:00:20.000Z";
const HEARD = "2026-01-01T00:00:00.000Z";
const ERROR: StatusError = { code: "TM-CONNECT-FAILED", message: "No way.", fix: "Mend it." };

function told(
  state: "running" | "stopped" | "unknown",
  error: StatusError | null,
  heartbeatAt: string | null = HEARD,
  syncs: readonly string[] = [],
): string {
  const common = { state, error, heartbeatAt };
  const text = describeStatus({
    at: AT,
    sources: [{ ...UNKNOWN_SOURCE, name: "a", ...common, syncs }],
    syncs: [{ ...UNKNOWN_SYNC, name: "a->b", from: "a", to: "b", ...common }],
    queue: { kind: "sqlite", exists: true },
  });
  return stripVTControlCharacters(text);
}

test("does not say of one that meets an error time and again that it is running", () => {
  expect(told("running", null)).not.toMatch(/retrying|fix/);
  const text = told("running", ERROR);
  expect(text).toMatch(/^a +retrying/m);
  expect(text).toMatch(/^a->b +retrying/m);
  expect(text).not.toMatch(/running/);
});

test("does not say of one that waits for a function that it tries again", () => {
  expect(told("running", { ...ERROR, code: "TM-TARGET-FUNCTION" })).toMatch(/^a->b +held up/m);
});

test("says that what has stopped with an error is to be started again, and nothing of a clean end", () => {
  expect(told("stopped", ERROR)).toMatch(
    /fix: Mend it\.\n\n.*once tidemark run is started again\.$/,
  );
  expect(told("stopped", null)).not.toMatch(/again/);
});

test("says once what several meet alike", () => {
  expect(told("running", ERROR)).toMatch(
    /^a, a->b: TM-CONNECT-FAILED {2}No way\.\nfix: Mend it\.$/m,
  );
});

test("says how long nobody was heard of", () => {
  expect(told("unknown", null)).toMatch(
    /a, a->b: not heard of for 20\.0 s\nfix: start tidemark run/,
  );
  expect(told("unknown", null, null)).toMatch(/a, a->b: not heard of yet\nfix: start tidemark run/);
});

test("says of a source that works what keeps changes from its log", () => {
  const source = { ...UNKNOWN_SOURCE, name: "a", state: "running", heartbeatAt: AT } as const;
  const queue = { kind: "sqlite", exists: true } as const;
  const shown = (warnings: readonly string[]) =>
    stripVTControlCharacters(
      describeStatus({ at: AT, sources: [{ ...source, warnings }], syncs: [], queue }),
    );
  expect(shown([])).not.toContain("warning");
  expect(shown(["It is a replica. Fix: name the primary."])).toMatch(
    /^a: warning: It is a replica\. Fix: name the primary\.$/m,
  );
});

test("names a sync that the relay at work does not have, as far as that tells which it has", () => {
  const named = /^a->b: the relay of "a" .* another config.*\nfix: put the syncs of both into one/m;
  expect(told("running", null, HEARD, ["a->c"])).toMatch(named);
  for (const [state, error, syncs] of [
    ["running", null, ["a->b"]],
    ["running", null, []],
    ["running", ERROR, ["a->c"]],
    ["unknown", null, ["a->c"]],
  ] as const)
    expect(told(state, error, HEARD, syncs)).not.toMatch(/another config/);
});
