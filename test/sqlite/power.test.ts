// What a power cut must not take of a source's own notes (G1, G5), nor leave of them without the rows they tell of.
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

/** A source on a disk of its own. */
class Shop {
  readonly #disk: Disk;
  readonly path: string;

  constructor(disk: Disk) {
    this.#disk = disk;
    this.path = join(disk.folder, "shop.db");
    const db = new DatabaseSync(this.path);
    db.exec("PRAGMA journal_mode = WAL; CREATE TABLE t (id INTEGER PRIMARY KEY)");
    db.close();
  }

  /** Runs these lines in a process that has `log`, `source` and `path`; then the power of the disk is cut. */
  async cutAfter(lines: string): Promise<void> {
    const url = `sqlite:${this.path}`;
    const script = `
      const { sqlite } = await import(${JSON.stringify(ADAPTER)});
      const { silentLogger: logger } = await import(${JSON.stringify(LOG)});
      const { DatabaseSync } = await import("node:sqlite");
      const path = ${JSON.stringify(this.path)};
      const source = await sqlite.openSource({ name: "shop", url: ${JSON.stringify(url)}, logger });
      const log = await source.openChangeLog();
      ${lines}
      console.log("done");
      setInterval(() => {}, 1000);`;
    const args = ["--no-warnings", "--input-type=module", "-e", script];
    const relay = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    const exited = once(relay, "exit");
    const [said] = await once(relay.stdout, "data");
    expect(String(said)).toBe("done\n");
    relay.kill("SIGSTOP");
    Disk.cut([this.#disk]);
    relay.kill("SIGKILL");
    await exited;
    await this.#disk.mend();
  }

  async open() {
    const source = await sqlite.openSource({
      ...{ name: "shop", url: `sqlite:${this.path}`, logger: silentLogger },
    });
    const log = await source.openChangeLog();
    if (log === null) throw new Error("The log is held by another.");
    const close = async () => {
      await log.close();
      await source.close();
    };
    return { source, log, close };
  }
}

test("the log is kept for a sync that has joined, and from where it needs it", async ({ skip }) => {
  const why = await whyNoPowerCut();
  if (why !== null) skip(why);
  await using disk = new Disk(64);
  const shop = new Shop(disk);
  const subscribed = async (confirmed: number) => {
    await shop.cutAfter(`await log.subscribers.set("shop->copy", ${confirmed});`);
    const { log, close } = await shop.open();
    const found = await log.subscribers.list();
    await close();
    return found.get("shop->copy");
  };
  expect(await subscribed(7)).toBe(7);
  expect(await subscribed(3)).toBe(3);
});

test("a batch does not outlast what an application has committed without a sync", async ({
  skip,
}) => {
  const why = await whyNoPowerCut();
  if (why !== null) skip(why);
  await using disk = new Disk(64);
  const shop = new Shop(disk);
  await shop.cutAfter(`
    const catalog = await sqlite.openCatalog({ name: "shop", url: "sqlite:" + path, logger });
    const [schema] = await catalog.describe([{ schema: null, name: "t" }]);
    await log.capture([{ schema, columns: ["id"], filters: [], takesNewColumns: false }]);
    const application = new DatabaseSync(path);
    application.exec("PRAGMA synchronous = NORMAL; INSERT INTO t VALUES (1)");
    await log.batches.cut();`);
  const { log, close } = await shop.open();
  expect(await log.batches.last()).toMatchObject({ batch: 1 });
  expect(await log.batches.cut()).toMatchObject({ header: null });
  await close();
  const db = new DatabaseSync(shop.path);
  expect(db.prepare("SELECT id FROM t").all()).toMatchObject([{ id: 1 }]);
  db.close();
});
