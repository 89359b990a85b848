import { describe, expect, it } from "vitest";
import { TidemarkError } from "../core/errors.ts";
import { START } from "../core/position.ts";
import type { DocumentEntry } from "../core/queue.ts";
import type { Bench } from "./queue-bed.ts";
import { batches, expectCode, type QueueBed, range, SOURCE, STEP_MS, within } from "./queue-bed.ts";

/** Documents, and what closing ends (G4). */
export function registerDocuments(bench: Bench<QueueBed>): void {
  describe("documents", () => {
    it("are put, got, replaced, removed and listed", async () => {
      const [one, two] = [await bench.documents(), await bench.documents()];
      expect(await one.get("a")).toBeNull();
      const value = {
        text: `"ß" 漢 \u{1f30a} \u0000 '`,
        list: [1, null, true],
        nested: { a: {} },
      };
      await one.put("a", value);
      expect(await two.get("a")).toEqual(value);
      await two.put("a", 2);
      expect(await one.get("a")).toBe(2);
      await two.put("b", "x");
      expect(await one.list("")).toEqual(
        new Map<string, unknown>([
          ["a", 2],
          ["b", "x"],
        ]),
      );
      await one.remove("a");
      await one.remove("a");
      await one.remove("never there");
      expect(await two.get("a")).toBeNull();
      expect(await two.list("")).toEqual(new Map([["b", "x"]]));
      await two.put("a", 3);
      expect(await one.get("a")).toBe(3);
    });

    it("are replaced only where they stand as they were seen", async () => {
      const [one, two] = [await bench.documents(), await bench.documents()];
      expect(await one.read("a")).toEqual({ value: null, revision: 0 });
      const first = await one.replace("a", { n: 1 }, 0);
      expect(await two.read("a")).toEqual({ value: { n: 1 }, revision: first });
      await expectCode(two.replace("a", { n: 2 }, 0), "TM-QUEUE-CONFLICT");
      await expectCode(two.replace("b", 1, first), "TM-QUEUE-CONFLICT");
      const second = await two.replace("a", { n: 2 }, first);
      expect(second).not.toBe(first);
      await expectCode(one.replace("a", { n: 3 }, first), "TM-QUEUE-CONFLICT");
      await one.put("b", "another key is none of it");
      const third = await two.replace("a", { n: 3 }, second);
      await one.put("a", { n: 3 });
      await expectCode(two.replace("a", { n: 4 }, third), "TM-QUEUE-CONFLICT");
      const { revision } = await two.read("a");
      await one.remove("a");
      await expectCode(two.replace("a", { n: 4 }, revision), "TM-QUEUE-CONFLICT");
      const gone = await two.read("a");
      expect(gone.value).toBeNull();
      const last = await two.replace("a", { n: 5 }, gone.revision);
      expect(await one.read("a")).toEqual({ value: { n: 5 }, revision: last });
      await expectCode(one.remove("a", gone.revision), "TM-QUEUE-CONFLICT");
      expect(await two.get("a")).toEqual({ n: 5 });
      await one.remove("a", last);
      expect(await two.get("a")).toBeNull();
    });

    it("are replaced by only one of those who saw the same", async () => {
      const all = await Promise.all(range(1, 8).map(() => bench.documents()));
      const tries = await Promise.allSettled(all.map((each, i) => each.replace("a", i, 0)));
      const winners = tries.flatMap(({ status }, i) => (status === "fulfilled" ? [i] : []));
      expect(winners).toHaveLength(1);
      expect(await (await bench.documents()).get("a")).toBe(winners[0]);
    });

    it("have keys of any characters, and list by any prefix", async () => {
      const documents = await bench.documents();
      for (const key of ODD_KEYS) await documents.put(key, { key });
      for (const key of ODD_KEYS) expect(await documents.get(key), key).toEqual({ key });
      expect([...(await documents.list("")).keys()].sort()).toEqual([...ODD_KEYS].sort());
      for (const prefix of ["progress/", "progress/a", "progress/a.b", "ü", "=", "%", "a*"]) {
        const expected = ODD_KEYS.filter((key) => key.startsWith(prefix)).sort();
        expect([...(await documents.list(prefix)).keys()].sort(), prefix).toEqual(expected);
      }
    });

    it("are watched: what stands, then every later write", async () => {
      const [one, two] = [await bench.documents(), await bench.documents()];
      await one.put("sync/a", 1);
      await one.put("sync/gone", 1);
      await one.remove("sync/gone");
      await one.put("other", 1);
      const watch = bench.watch(two, "sync/");
      expect(await watch.next()).toEqual({ key: "sync/a", value: 1 });
      await one.put("other", 2);
      await one.put("sync/b", { b: 1 });
      expect(await watch.next()).toEqual({ key: "sync/b", value: { b: 1 } });
      await two.put("sync/a", 2);
      expect(await watch.next()).toEqual({ key: "sync/a", value: 2 });
      await one.remove("sync/a");
      expect(await watch.next()).toEqual({ key: "sync/a", value: null });
      await one.put("sync/a", 3);
      expect(await watch.next()).toEqual({ key: "sync/a", value: 3 });
    });

    it("reach every watcher with their last value, however quickly they are written", async () => {
      const [one, two] = [await bench.documents(), await bench.documents()];
      const watches = [bench.watch(one, "n/"), bench.watch(two, "n/"), bench.watch(two, "")];
      for (const value of range(1, 200)) {
        await Promise.all([one.put("n/a", value), two.put("n/b", value)]);
      }
      for (const watch of watches) {
        const last = new Map<string, unknown>();
        while (last.get("n/a") !== 200 || last.get("n/b") !== 200) {
          const { key, value } = await watch.next();
          expect(Number(value)).toBeGreaterThan(Number(last.get(key) ?? 0));
          last.set(key, value);
        }
      }
    });

    it("end a watch promptly", async () => {
      const documents = await bench.documents();
      await documents.put("a", 1);
      const abort = new AbortController();
      const seen: DocumentEntry[] = [];
      const watching = (async () => {
        for await (const entry of documents.watch("", abort.signal)) seen.push(entry);
      })();
      await expect.poll(() => seen.length, { timeout: STEP_MS }).toBe(1);
      const asked = performance.now();
      abort.abort();
      await within(STEP_MS, watching);
      expect(performance.now() - asked).toBeLessThan(500);
    });
  });

  describe("closing", () => {
    it("ends readers and watchers, and refuses what comes after", async () => {
      const queue = await bench.queue();
      const stream = await queue.openStream(SOURCE);
      await stream.append(await stream.tail(), batches(1, 1));
      let began = 0;
      const reading = (async () => {
        for await (const _ of stream.read(START, new AbortController().signal)) began++;
      })();
      const watching = (async () => {
        for await (const _ of queue.documents.watch("", new AbortController().signal)) began++;
      })();
      await queue.documents.put("a", 1);
      await expect.poll(() => began, { timeout: STEP_MS }).toBe(2);
      await queue.close();
      await within(STEP_MS, Promise.all([reading, watching]));
      await expect(within(STEP_MS, stream.tail())).rejects.toBeInstanceOf(TidemarkError);
      await queue.close();
    });
  });
}

const ODD_KEYS = [
  "a",
  "A",
  "progress/a",
  "progress/a.b",
  "progress/a.b.",
  "progress/.a",
  "progress/shop->reports",
  "progress/shop%20reports",
  "progress/with space",
  'progress/"quoted"',
  "progress/it's",
  "progress/back\\slash",
  "progress//double",
  "progress/",
  "a*",
  "a>",
  "=2E",
  "%2F",
  "über/größe",
  "漢字/\u{1f30a}",
  "line\nbreak",
  "k".repeat(200),
];
