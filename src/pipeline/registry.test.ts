import { expect, it } from "vitest";
import { databaseAdapterFor, queueAdapterFor } from "./registry.ts";

it("tells how a config file names a variable, where one is written as on the command line", () => {
  expect(() => databaseAdapterFor("env:SHOP_URL")).toThrow(
    expect.objectContaining({
      code: "TM-URL-INVALID",
      fix: expect.stringContaining("$" + "{SHOP_URL}"),
    }),
  );
});

it("names the database whose URL has a scheme that nobody knows", () => {
  expect(() => databaseAdapterFor("postgers://x", "shop")).toThrow(
    /^shop: no database .*"postgers"/,
  );
});

it("names the schemes that are known", () => {
  expect(() => queueAdapterFor("carrier-pigeon://x")).toThrow(
    expect.objectContaining({ code: "TM-URL-INVALID", fix: expect.stringMatching(/sqlite.*nats/) }),
  );
});
