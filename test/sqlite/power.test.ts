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

  constructor(disk: Disk, mode = "WAL") {
    this.#disk = disk;
    this.path = join(disk.folder, "shop.db");
    const db = new DatabaseSync(this.path);
    db.exec(`PRAGMA journal_mode = ${mode}; CREATE TABLE t (id INTEGER PRIMARY KEY)`);
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

const MODES = ["WAL", "DELETE", "TRUNCATE", "PERSIST"].flatMap((mode) =>
  ["NORMAL", "FULL"].map((synchronous) => ({ was: mode, mode, synchronous })),
);

test.for([
  ...MODES,
  { was: "WAL", mode: "DELETE", synchronous: "FULL" },
  { was: "WAL", mode: "TRUNCATE", synchronous: "NORMAL" },
])(
  "a batch is durable, and so is what an application has committed of it: $was, $mode, $synchronous",
  async ({ was, mode, synchronous }, { skip }) => {
    const why = await whyNoPowerCut();
    if (why !== null) skip(why);
    await using disk = new Disk(64);
    const shop = new Shop(disk, was);
    await shop.cutAfter(`
    const catalog = await sqlite.openCatalog({ name: "shop", url: "sqlite:" + path, logger });
    const [schema] = await catalog.describe([{ schema: null, name: "t" }]);
    await catalog.close();
    await log.capture([{ schema, columns: ["id"], filters: [], takesNewColumns: false }]);
    let cut = log;
    if (${JSON.stringify(was)} !== ${JSON.stringify(mode)}) {
      await log.close();
      await source.close();
      const owner = new DatabaseSync(path);
      owner.exec("PRAGMA journal_mode = ${mode}");
      owner.close();
      const again = await sqlite.openSource({ name: "shop", url: "sqlite:" + path, logger });
      cut = await again.openChangeLog();
      // From now on it writes where the file has room already, which syncs nothing else.
      for (let i = 1; i < 1200; i++) await cut.subscribers.set("shop->copy", i);
    }
    const application = new DatabaseSync(path);
    application.exec("PRAGMA journal_mode = ${mode}; PRAGMA synchronous = ${synchronous}");
    application.exec("INSERT INTO t VALUES (1)");
    await cut.batches.cut();
    application.exec("INSERT INTO t VALUES (2)");
    await cut.batches.cut();`);
    const { log, close } = await shop.open();
    expect(await log.batches.last()).toMatchObject({ batch: 2 });
    expect(await log.batches.cut()).toMatchObject({ header: null });
    await close();
    const db = new DatabaseSync(shop.path);
    expect(db.prepare("SELECT id FROM t").all()).toMatchObject([{ id: 1 }, { id: 2 }]);
    db.close();
  },
);
