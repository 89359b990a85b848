// What is told of a sync that has stopped leads to the page of what it has stopped for (G8).
import { copyFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { Workplace } from "./tidemark.ts";

const PAIR = ["--from", "sqlite:shop.db", "--to", "sqlite:copy.db", "--table", "*"];

test("run and wait name the page of the error that stopped the sync", async () => {
  await using place = await Workplace.make();
  const run = () => place.start(["run", ...PAIR, "--until-synced"]);
  place.sql("shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)");
  expect(await run()).toMatchObject({ exitCode: 0 });
  place.sql("shop.db", "PRAGMA wal_checkpoint(TRUNCATE)");
  for (const name of ["shop.db", "shop.db-tidemark"])
    await copyFile(place.path(name), place.path(`${name}.old`));
  place.sql("shop.db", "INSERT INTO t VALUES (1)");
  expect(await run()).toMatchObject({ exitCode: 0 });
  for (const name of ["shop.db", "shop.db-tidemark"])
    await copyFile(place.path(`${name}.old`), place.path(name));
  place.sql("shop.db", "INSERT INTO t VALUES (2)");

  const stopped = await run();
  const waited = await place.start(["wait", ...PAIR, "--timeout", "20s"]);
  // Which of the two codes run ends with depends on who is the first to hear of it.
  expect(waited.stderr).toMatch(/^TM-SYNC-STOPPED .*has stopped: TM-SOURCE-REWOUND/m);
  for (const { stderr } of [stopped, waited])
    expect(stderr).toMatch(/see: .*TM-SOURCE-REWOUND\.md/);
});
