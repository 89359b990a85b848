// What a terminal shows that nobody gave a size, as a container's or that of a job (G8).
import { expect, test } from "vitest";
import { MAIN, Workplace } from "./tidemark.ts";

test.skipIf(process.platform !== "linux")("status is seen without a size", async () => {
  await using place = await Workplace.make();
  place.sql("shop.db", "CREATE TABLE t (id INTEGER PRIMARY KEY)");
  const status = `"${process.execPath}" "${MAIN}" status --watch --from sqlite:shop.db --to sqlite:copy.db`;
  const watch = place.shell(
    `exec script -qec 'stty cols 0 rows 0; exec ${status}' /dev/null < /dev/null`,
  );
  let seen = "";
  for await (const line of watch.readable()) {
    seen += line;
    if (seen.includes("source->target")) break;
  }
  expect(seen).toContain("source->target");
  watch.kill("SIGTERM");
  await watch;
});
