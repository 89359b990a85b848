// What a power cut must not take of a source's own notes (G1, G5).
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, test } from "vitest";
import { silentLogger } from "../../src/core/log.ts";
import { sqlite } from "../../src/databases/sqlite/index.ts";
import { Disk, whyNoPowerCut } from "../servers/index.ts";

const ADAPTER = new URL("../../src/databases/sqlite/index.ts", import.meta.url).href;
const LOG = new URL("../../src/core/log.ts", import.meta.url).href;

test("the log is kept for a sync that has joined, and from where it needs it", async ({ skip }) => {
  const why = await whyNoPowerCut();
  if (why !== null) skip(why);
  await using disk = new Disk(64);
  const url = `sqlite:${join(disk.folder, "shop.db")}`;
  const db = new DatabaseSync(join(disk.folder, "shop.db"));
  db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY)");
  db.close();
  const subscribed = async (confirmed: number) => {
    const script = `
      const { sqlite } = await import(${JSON.stringify(ADAPTER)});
      const { silentLogger: logger } = await import(${JSON.stringify(LOG)});
      const source = await sqlite.openSource({ name: "shop", url: ${JSON.stringify(url)}, logger });
      const log = await source.openChangeLog();
      await log.subscribers.set("shop->copy", ${confirmed});
      console.log("set");
      setInterval(() => {}, 1000);`;
    const relay = spawn(process.execPath, ["--no-warnings", "--input-type=module", "-e", script], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const exited = once(relay, "exit");
    const [said] = await once(relay.stdout, "data");
    expect(String(said)).toBe("set\n");
    relay.kill("SIGSTOP");
    Disk.cut([disk]);
    relay.kill("SIGKILL");
    await exited;
    await disk.mend();
    const source = await sqlite.openSource({ name: "shop", url, logger: silentLogger });
    const log = await source.openChangeLog();
    const found = await log?.subscribers.list();
    await log?.close();
    await source.close();
    return found?.get("shop->copy");
  };
  expect(await subscribed(7)).toBe(7);
  expect(await subscribed(3)).toBe(3);
});
