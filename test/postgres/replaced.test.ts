// Another table that takes the place of a target's table and holds rows of its own, as when one is restored alone or two
// swap names: nobody may be told that it is in step before it was copied anew (G8).
import { describe, expect, test } from "vitest";
import { available } from "../servers/index.ts";
import {
  bedOfTwoRows,
  copiedRows,
  planned,
  synced,
  TABLE,
  untilCopied,
} from "../support/replaced.ts";
import { insertRow } from "../support/test-tables.ts";

const MAKE = "CREATE TABLE other (LIKE t INCLUDING ALL); INSERT INTO other VALUES (1, 'of before')";
const SWAPS = [
  ["dropped and made again with rows", `${MAKE}; DROP TABLE t; ALTER TABLE other RENAME TO t`],
  [
    "exchanged by names",
    `${MAKE}; ALTER TABLE t RENAME TO old; ALTER TABLE other RENAME TO t; ALTER TABLE old RENAME TO other`,
  ],
  [
    "exchanged by schemas",
    `${MAKE}; CREATE SCHEMA aside; ALTER TABLE t SET SCHEMA aside; ALTER TABLE other RENAME TO t`,
  ],
] as const;

describe.skipIf(!available("postgres"))("a table of the target", () => {
  test.each(SWAPS)("%s while nothing runs is copied anew", async (_, swap) => {
    await using bed = await bedOfTwoRows("postgres");
    await bed.stop(await synced(bed));
    expect(await planned(bed)).toEqual([]);
    await (await bed.sql("target")).run(swap);
    expect(await planned(bed)).toEqual([{ table: "public.t", reason: "replaced" }]);
    const second = await synced(bed);
    await bed.expectSame(TABLE);
    expect(bed.logger.text()).toContain("is another one than was copied into, and holds rows");
    expect(await copiedRows(second)).toBe(2);
    await bed.stop(second);
    const third = await synced(bed);
    expect(await copiedRows(third)).toBe(0);
  });

  test.each(SWAPS)("%s while the source is quiet is copied anew", async (_, swap) => {
    await using bed = await bedOfTwoRows("postgres");
    await synced(bed);
    const target = await bed.sql("target");
    await target.run(swap);
    await untilCopied(target);
  });

  test("that an earlier version copied into is told from the first start on", async () => {
    await using bed = await bedOfTwoRows("postgres");
    await bed.stop(await synced(bed));
    const target = await bed.sql("target");
    await target.run(
      "UPDATE tidemark.progress_tables SET copy = regexp_replace(copy, '@[^:]*', '')",
    );
    const second = await synced(bed);
    expect(await copiedRows(second)).toBe(0);
    await target.run(SWAPS[0][1]);
    await untilCopied(target);
  });

  test("made again together with what is kept of the sync goes on", async () => {
    await using bed = await bedOfTwoRows("postgres");
    await bed.stop(await synced(bed));
    const target = await bed.sql("target");
    for (const name of ["t", "tidemark.progress_tables"]) {
      await target.run(`CREATE TABLE restored (LIKE ${name} INCLUDING ALL);
        INSERT INTO restored SELECT * FROM ${name}; DROP TABLE ${name}`);
      const [schema, bare] = name === "t" ? ["public", "t"] : name.split(".");
      await target.run(`ALTER TABLE restored RENAME TO ${bare}`);
      if (schema !== "public") await target.run(`ALTER TABLE ${bare} SET SCHEMA ${schema}`);
    }
    await insertRow(await bed.sql("source"), TABLE, { id: 3, note: "three" });
    const second = await synced(bed);
    await bed.expectSame(TABLE);
    expect(await copiedRows(second)).toBe(0);
  });
});
