import { expect, it } from "vitest";
import { classify } from "./errors.ts";

it("tells how many connections are needed where none is left", () => {
  const error = {
    severity: "FATAL",
    code: "53300",
    message: 'too many connections for role "sync"',
  };
  expect(classify(error, { action: "connect", database: "shop" })).toMatchObject({
    code: "TM-CONNECT-FAILED",
    fix: expect.stringContaining("CONNECTION LIMIT"),
  });
});

it("names the setting that ends each session before it is set up", () => {
  const error = {
    severity: "ERROR",
    code: "57014",
    message: "canceling statement due to statement timeout",
  };
  expect(classify(error, { action: "connect", database: "shop" })).toMatchObject({
    code: "TM-APPLY-RETRY",
    fix: expect.stringContaining("SET statement_timeout = 0"),
  });
});

it("knows a write that a publication refuses in whatever language the server tells it", () => {
  const error = {
    severity: "FEHLER",
    code: "55000",
    routine: "CheckCmdReplicaIdentity",
    message: "kann Tabelle »t« nicht aktualisieren, weil sie keine Replik-Identität hat",
  };
  expect(classify(error, { action: "apply rows", database: "copy" })).toMatchObject({
    code: "TM-TABLE-UNSUPPORTED",
    fix: expect.stringContaining("REPLICA IDENTITY FULL"),
  });
});

it("names where nobody has answered, also for a name with several addresses", () => {
  const refused = { code: "ECONNREFUSED", address: "127.0.0.1", port: 5433 };
  const one = Object.assign(new Error("refused"), refused);
  const several = Object.assign(new AggregateError([one, one]), { code: "ECONNREFUSED" });
  for (const error of [one, several])
    expect(classify(error, { action: "connect", database: "shop" }).message).toBe(
      'Database "shop" (127.0.0.1, port 5433) cannot be reached (ECONNREFUSED).',
    );
});
