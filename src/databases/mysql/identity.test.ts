import { expect, test } from "vitest";
import { TidemarkError } from "../../core/errors.ts";
import { flavourOf } from "./flavour.ts";
import { identityOf } from "./identity.ts";

const asked = (value: () => Promise<string | null>) =>
  identityOf({ flavour: flavourOf("10.11.6-MariaDB"), value });

test("a server that cannot tell has no identity; a session that is lost does not say so", async () => {
  expect(await asked(async () => "1/host/2/shop")).toBe("1/host/2/shop");
  const refuses = async () => {
    throw new TidemarkError("TM-GRANT-MISSING", "no");
  };
  expect(await asked(refuses)).toBe(null);
  const isLost = async () => {
    throw new TidemarkError("TM-CONNECTION-LOST", "lost");
  };
  await expect(asked(isLost)).rejects.toMatchObject({ code: "TM-CONNECTION-LOST" });
});
