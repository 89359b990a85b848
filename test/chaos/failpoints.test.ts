// A process dies at each place where it would hurt most, while the bank is busy; another heals what it has left
// (G1, G2, G3, G5). The places stand in src/core/failpoint.ts.
import { randomBytes } from "node:crypto";
import { expect, test } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { FAILPOINTS, type Failpoint } from "../../src/core/failpoint.ts";
import { silentLogger } from "../../src/core/log.ts";
import { openQueue } from "../../src/pipeline/queue.ts";
import { available, type TestPair, title } from "../support/pairs.ts";
import type { PipelineProcess } from "../support/pipeline-process.ts";
import { Random, testSeed } from "../support/random.ts";
import { transaction } from "../support/sql-client.ts";
import { healed, type Storm, weather } from "../support/storm.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";

interface Case {
  readonly pair: TestPair;
  /** Passed by while a sync begins: one process after the other dies a step further on. */
  readonly beginning: readonly Failpoint[];
  /** Each is followed by a process that heals. */
  readonly running: readonly Failpoint[];
}

const CASES: readonly Case[] = [
  {
    pair: { source: "postgres", target: "mariadb", queue: "embedded" },
    beginning: ["tables-created", "relay-lease-taken", "capture-half", "fence-answered"],
    running: ["cut-stored", "log-switched", "log-truncated", "notice-told"],
  },
  {
    pair: { source: "mariadb", target: "sqlite", queue: "nats" },
    beginning: ["capture-half", "applier-lease-taken", "chunk-sent"],
    running: ["piece-sent", "stream-emptied", "purge-half", "committed", "purged"],
  },
  {
    pair: { source: "sqlite", target: "postgres", queue: "embedded" },
    beginning: ["capture-half", "sync-joined"],
    running: ["batch-half-sent", "confirmation-stored", "purge-due", "commit-due", "notice-due"],
  },
];

test("every failpoint has its turn", () => {
  const turns = new Set(CASES.flatMap(({ beginning, running }) => [...beginning, ...running]));
  expect([...turns].sort()).toEqual(Object.keys(FAILPOINTS).sort());
});

test.for(CASES.map((each) => [title(each.pair), each] as const))(
  "%s: dies at each, and nothing is lost, doubled or torn",
  { timeout: 240_000 },
  async ([, { pair, beginning, running }], { skip }) => {
    if (!available(pair)) return skip();
    const random = new Random(testSeed());
    await using bed = await TestBed.make({ source: pair.source, target: pair.target }, pair);
    await weather(bed, {
      random,
      begin: async (storm) => {
        for (const failpoint of beginning) await dies(storm, failpoint);
        storm.run();
      },
      faults: async (storm) => {
        for (const failpoint of running) {
          await storm.running()[0]?.kill();
          await prepare(bed, storm, failpoint);
          await dies(storm, failpoint, () => provoke(bed, failpoint));
          storm.run();
          await healed(storm.definition);
        }
      },
    });
  },
);

/** Runs until it is dead, and demands that it died there. */
async function dies(
  storm: Storm,
  failpoint: Failpoint,
  provoke: () => Promise<void> = async () => {},
): Promise<void> {
  const run = storm.run([], { failpoint: `${failpoint}:kill` });
  await Promise.all([provoke(), deathOf(run)]);
  expect(run.diedAtFailpoint, `${failpoint}\n${run.output}`).toBe(true);
}

async function deathOf(run: PipelineProcess): Promise<void> {
  const late = new AbortController();
  const patience = sleep(PATIENCE_MS, late.signal);
  await Promise.race([run.ended(), patience]);
  late.abort();
  if (!run.hasEnded) await run.kill();
}

/** What must stand before the process begins. */
async function prepare(bed: TestBed, storm: Storm, failpoint: Failpoint): Promise<void> {
  if (failpoint === "log-switched") {
    const source = await bed.sql("source");
    await source.run("UPDATE tidemark.source SET switched_at = now() - interval '1 hour'");
  }
  if (failpoint === "stream-emptied") await loseUnread(storm);
}

/** What must happen for it to be reached; all others are passed all the time. */
async function provoke(bed: TestBed, failpoint: Failpoint): Promise<void> {
  if (failpoint !== "batch-half-sent") return;
  const source = await bed.sql("source");
  await transaction(source, async () => {
    // Its two entries a pair add up to nothing, as all of the ledger.
    for (let id = 900_000_000; id < 900_004_000; id += 400) {
      const rows = Array.from(
        { length: 400 },
        (_, at) =>
          `(${id + at}, 1, ${at % 2 === 0 ? 1 : -1}, '${randomBytes(90).toString("hex")}')`,
      );
      await source.run(
        `INSERT INTO ledger (id, account_id, amount, note) VALUES ${rows.join(", ")}`,
      );
    }
  });
}

/** The queue loses batches that nobody has applied yet, and keeps what came after them. */
async function loseUnread({ definition, written, run }: Storm): Promise<void> {
  await using relay = run(["--role", "relay"]);
  const queue = await openQueue(definition.queue, silentLogger);
  try {
    const stream = await queue.openStream("source");
    const first = (await stream.tail()).mark?.batch ?? 0;
    let last = first;
    while (last < first + 3) {
      await written(2);
      last = (await stream.tail()).mark?.batch ?? 0;
    }
    await relay.kill();
    last = (await stream.tail()).mark?.batch ?? 0;
    await stream.trim(last - 1);
  } finally {
    await queue.close();
  }
}
