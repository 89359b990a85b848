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
