import { expect, test } from "vitest";
import { TidemarkError } from "../../core/errors.ts";
import { identityOf } from "./identity.ts";

const asked = (answer: () => Promise<string[][]>) => identityOf({ rows: answer });

test("a server that cannot tell has no identity; a session that is lost does not say so", async () => {
  expect(await asked(async () => [["1700000000000000/5"]])).toBe("1700000000000000/5");
  const refuses = async () => {
    throw new TidemarkError("TM-GRANT-MISSING", "no");
  };
  expect(await asked(refuses)).toBe(null);
  const isLost = async () => {
    throw new TidemarkError("TM-CONNECTION-LOST", "lost");
  };
  await expect(asked(isLost)).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
});
