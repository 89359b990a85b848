// Tables that are read together for their first copy: few ways to the server, one snapshot, and nobody kept waiting (G3, G6).
import { describe, expect, it } from "vitest";
import type { CaptureTable } from "../../src/core/source.ts";
import { readToEnd } from "../../src/testing/replica.ts";
import { available } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { collect, openBed, openLog, SERVERS } from "./bed.ts";

const TABLES = 60;
const NAMES = Array.from({ length: TABLES }, (_, i) => `t${i}`);
const FILTERS = ["id > 1"];

type Kind = (typeof SERVERS)[number];

/** `filters`: of tables for which they are not {@link FILTERS}. */
async function start(kind: Kind, filters: Readonly<Record<string, readonly string[]>> = {}) {
  const bed = await openBed(kind);
  for (const name of NAMES) {
    await bed.admin.query(
      `CREATE TABLE ${name} (id INT PRIMARY KEY, a BLOB, b LONGTEXT);
       INSERT INTO ${name} VALUES (1, X'00FF', 'tab\\tline\\n?;\\\\'), (2, NULL, '')`,
    );
  }
  const proxy = await TcpProxy.start(bed.options.url);
  const options = { ...bed.options, url: proxy.through(bed.options.url) };
  const captured = (await bed.capture(...NAMES)).map((table): CaptureTable => {
    return { ...table, filters: filters[table.schema.name.name] ?? FILTERS };
  });
  const open = await openLog({ options }, captured);
  /** One cut that asks for these: what it gives, by the names of their tables. */
  const cut = async (names: readonly string[]) => {
    const asked = names.map((name) => {
      return { table: { schema: null, name }, after: null, maxRows: 5_000, maxBytes: 1_000_000 };
    });
    const given = await open.log.batches.cut(asked);
    const changes = await collect(given.pages);
    const chunks = new Map<string, Awaited<ReturnType<typeof readToEnd>>>();
    for (const chunk of given.chunks) {
      chunks.set(open.layouts.get(chunk.layout)?.table.name ?? "", await readToEnd(chunk));
    }
    return { changes, chunks };
  };
  return {
    bed,
    proxy,
    cut,
    async [Symbol.asyncDispose]() {
      await open[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await bed[Symbol.asyncDispose]();
    },
  };
}

const COPIED = {
  rows: [
    ["1", "00ff", "tab\tline\n?;\\"],
    ["2", null, ""],
  ],
  filters: [[false], [true]],
  done: true,
};

describe.each(SERVERS)("small tables on %s", (kind) => {
  describe.skipIf(!available(kind))("copied together", () => {
    it("cost few ways to the server, and come as they are", async () => {
      await using at = await start(kind);
      await at.bed.admin.query("DELETE FROM t7");
      // Else each piece of a long message is a turn of its own, answered before the next one comes.
      at.proxy.slow(3);
      const before = at.proxy.turns;
      const copied = new Map<string, unknown>();
      while (copied.size < TABLES) {
        const { chunks } = await at.cut(NAMES.filter((name) => !copied.has(name)));
        for (const [name, chunk] of chunks) copied.set(name, chunk);
      }
      expect(at.proxy.turns - before).toBeLessThan(3 * TABLES);
      expect(copied.get("t7")).toMatchObject({ rows: [], done: true });
      copied.delete("t7");
      for (const chunk of copied.values()) expect(chunk).toMatchObject(COPIED);
    });

    it("are all of the snapshot of their cut, while transactions write them", async () => {
      await using at = await start(kind);
      const names = NAMES.slice(0, 12);
      const writer = await at.bed.connect();
      let written = 0;
      let stopped = false;
      const writing = (async () => {
        while (!stopped) {
          written++;
          const updates = names.map((name) => `UPDATE ${name} SET b = '${written}' WHERE id = 2`);
          await writer.query(`BEGIN; ${updates.join("; ")}; COMMIT`);
        }
      })();
      try {
        let together = 0;
        let last = 0;
        while (written < 60 || together < 8) {
          const { changes, chunks } = await at.cut(names);
          for (const { row } of changes) last = Number(row?.[2]);
          const shown = [...chunks.values()].map(({ rows }) => Number(rows[1]?.[2]));
          expect(new Set(shown)).toEqual(new Set([last]));
          together = Math.max(together, chunks.size);
        }
      } finally {
        stopped = true;
        await writing;
      }
    });

    // In MySQL the check of the catalog waits for who alters one, whatever is read.
    const alters = "are given up to one that somebody alters, whom the others do not wait for";
    it.runIf(kind === "mariadb")(alters, async () => {
      await using at = await start(kind);
      expect([...(await at.cut(["t0", "t1"])).chunks.keys()]).toEqual(["t0"]);
      const reader = await at.bed.connect();
      await reader.query("BEGIN; SELECT * FROM t2");
      const owner = await at.bed.connect();
      const altered = owner.query("ALTER TABLE t2 COMMENT 'altered'").catch(() => "killed");
      const waiting = async () => {
        const [rows] = await at.bed.admin.query("SHOW PROCESSLIST");
        return (rows as unknown[][]).filter((row) => /metadata lock/.test(`${row[6]}`)).length;
      };
      await expect.poll(waiting, { timeout: 30_000 }).toBe(1);
      expect([...(await at.cut(["t1", "t2"])).chunks.keys()]).toEqual(["t1"]);
      const copied = at.cut(["t2", "t3"]);
      await expect.poll(waiting, { timeout: 30_000 }).toBe(2);
      await at.bed.admin.query(`KILL QUERY ${owner.threadId}`);
      expect(await altered).toBe("killed");
      expect((await copied).chunks.get("t2")).toMatchObject(COPIED);
    });

    it("are given up to one whose condition fails for a row, which is then asked alone", async () => {
      await using at = await start(kind, { t2: ["(SELECT 1 UNION SELECT id) = 1"] });
      const given: string[][] = [];
      let left = ["t0", "t1", "t2", "t3", "t4"];
      while (left.length > 0) {
        const { chunks } = await at.cut(left);
        given.push([...chunks.keys()]);
        left = left.filter((name) => !chunks.has(name));
        for (const [name, chunk] of chunks) {
          const filters = name === "t2" ? [[true], [null]] : COPIED.filters;
          expect(chunk).toMatchObject({ ...COPIED, filters });
        }
      }
      expect(given).toEqual([["t0"], ["t1"], ["t2"], ["t3", "t4"]]);
    });

    it("are given up to one that is not small, in rows or in bytes", async () => {
      await using at = await start(kind);
      const { admin } = at.bed;
      await admin.query("UPDATE t3 SET b = REPEAT('x', 70000) WHERE id = 2");
      const many = Array.from({ length: 1_000 }, (_, i) => `(${i + 3}, NULL, '')`);
      await admin.query(`INSERT INTO t5 VALUES ${many.join(", ")}`);
      const given: string[][] = [];
      const rows = new Map<string, number>();
      for (let left = ["t0", "t1", "t2", "t3", "t4", "t5", "t6"]; left.length > 0; ) {
        const { chunks } = await at.cut(left);
        given.push([...chunks.keys()]);
        for (const [name, chunk] of chunks) rows.set(name, chunk.rows.length);
        left = left.filter((name) => !chunks.has(name));
      }
      expect(given).toEqual([["t0"], ["t1", "t2"], ["t3"], ["t4"], ["t5"], ["t6"]]);
      expect(Object.fromEntries(rows)).toMatchObject({ t3: 2, t5: 1_002 });
    });

    it("are of tables whose conditions are no more than conditions", async () => {
      await using bed = await openBed(kind);
      await bed.admin.query(
        "CREATE TABLE victim (id INT PRIMARY KEY); INSERT INTO victim VALUES (1)",
      );
      const [table] = (await bed.capture("victim")) as [CaptureTable];
      const filter = "id > 1), 't', 'f')) FROM victim; DELETE FROM victim; SELECT (IF((1";
      await expect(openLog(bed, [{ ...table, filters: [filter] }])).rejects.toMatchObject({
        code: "TM-CONFIG-INVALID",
      });
      expect((await bed.admin.query("SELECT id FROM victim"))[0]).toEqual([[1]]);
    });
  });
});
