// Everything is killed, under load, and started again; afterwards both sides are equal, nothing was
// applied twice, a reader of the target never saw half a transaction, and what a notice told is there (G1, G2, G3, G4, G5).
import { describe, expect, test } from "vitest";
import { natsBed } from "../queues/nats-bed.ts";
import {
  canStart,
  type DatabaseKind,
  type Server,
  startMariadb,
  startMysql,
  startNats,
  startPostgres,
} from "../servers/index.ts";
import { available, type TestPair } from "../support/pairs.ts";
import { Random, testSeed } from "../support/random.ts";
import { weather } from "../support/storm.ts";
import { TestBed } from "../support/test-bed.ts";

const TIMEOUT_MS = 400_000;

const PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "sqlite", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "nats" },
  { source: "mariadb", target: "postgres", queue: "embedded" },
];

describe.each(PAIRS)("$source to $target over $queue", (pair) => {
  const skip = !available(pair);
  const make = () => TestBed.make({ source: pair.source, target: pair.target }, pair);

  test.skipIf(skip)(
    "kill -9 of run, again and again",
    async () => {
      const random = new Random(testSeed());
      await using bed = await make();
      await weather(bed, {
        random,
        faults: async (storm) => {
          for (let turn = 0; turn < 5; turn++) {
            await storm.progress();
            await storm.chance(300);
            await storm.running()[0]?.kill();
            // Sometimes long enough for a backlog.
            if (random.chance(0.5)) await storm.chance(500);
            storm.run();
          }
        },
      });
    },
    TIMEOUT_MS,
  );

  test.skipIf(skip)(
    "kill -9 of relay and applier, apart",
    async () => {
      const random = new Random(testSeed());
      await using bed = await make();
      const roles = ["relay", "applier"] as const;
      await weather(bed, {
        random,
        begin: (storm) => {
          for (const role of roles) storm.run(["--role", role]);
        },
        faults: async (storm) => {
          const [relay, applier] = storm.running();
          let running = { relay, applier };
          for (let turn = 0; turn < 6; turn++) {
            const role = turn < 2 ? roles[turn as 0 | 1] : random.pick(["relay", "applier"]);
            await storm.progress();
            await storm.chance(200);
            await running[role]?.kill();
            running = { ...running, [role]: storm.run(["--role", role]) };
          }
        },
      });
    },
    TIMEOUT_MS,
  );

  test.skipIf(skip)(
    "two at once: whichever is killed, the other goes on",
    async () => {
      const random = new Random(testSeed());
      await using bed = await make();
      await weather(bed, {
        random,
        begin: (storm) => {
          storm.run();
          storm.run();
        },
        faults: async (storm) => {
          for (let turn = 0; turn < 4; turn++) {
            await storm.progress();
            await storm.chance(200);
            // The older one is the leader, or was until the turn before.
            await storm.running()[0]?.kill();
            storm.run();
          }
          await storm.progress();
          expect(storm.running().length).toBe(2);
        },
      });
    },
    TIMEOUT_MS,
  );
});

interface ServerCase {
  readonly name: string;
  readonly source: DatabaseKind;
  readonly target: DatabaseKind;
  readonly killed: "source" | "target";
  readonly start: () => Promise<Server>;
}

const SERVER_CASES: readonly ServerCase[] = [
  {
    name: "postgres as source",
    source: "postgres",
    target: "sqlite",
    killed: "source",
    start: startPostgres,
  },
  {
    name: "postgres as target",
    source: "sqlite",
    target: "postgres",
    killed: "target",
    // Its own writer flushes nothing unasked, so that the crash takes whatever was not to be promised.
    start: () =>
      startPostgres({ settings: { wal_writer_delay: "10s", wal_writer_flush_after: 0 } }),
  },
  {
    name: "mariadb as source",
    source: "mariadb",
    target: "sqlite",
    killed: "source",
    start: startMariadb,
  },
  {
    name: "mariadb as target",
    source: "sqlite",
    target: "mariadb",
    killed: "target",
    start: startMariadb,
  },
  {
    name: "mysql as source",
    source: "mysql",
    target: "sqlite",
    killed: "source",
    start: startMysql,
  },
  {
    name: "mysql as target",
    source: "sqlite",
    target: "mysql",
    killed: "target",
    start: startMysql,
  },
];

describe.each(SERVER_CASES)("$name", ({ source, target, killed, start }) => {
  const kind = killed === "source" ? source : target;
  test.skipIf(kind === "sqlite" || !canStart(kind as "postgres" | "mariadb" | "mysql"))(
    "kill -9 and restart of the server",
    async () => {
      const random = new Random(testSeed());
      await using server = await start();
      await using bed = await TestBed.make(
        { source, target },
        { servers: { [killed]: server.url } },
      );
      await weather(bed, {
        random,
        faults: async (storm) => {
          for (const fault of ["kill when confirmed", "restart", "kill"] as const) {
            await storm.progress();
            if (fault === "kill when confirmed") await storm.confirmed();
            else await storm.chance(300);
            if (fault === "restart") {
              await server.restart();
            } else {
              await server.kill();
              await storm.chance(300);
              await server.start();
            }
          }
          await storm.progress();
          expect(storm.running().length).toBe(1);
        },
      });
    },
    TIMEOUT_MS,
  );
});

describe.skipIf(!canStart("nats"))("nats", () => {
  test(
    "kill -9 and restart of the server",
    async () => {
      const random = new Random(testSeed());
      await using server = await startNats();
      await using bed = await TestBed.make(
        { source: "sqlite", target: "sqlite" },
        { queueUrl: server.url },
      );
      await weather(bed, {
        random,
        faults: async (storm) => {
          for (let turn = 0; turn < 3; turn++) {
            await storm.progress();
            await storm.chance(300);
            await server.kill();
            await storm.chance(300);
            await server.start();
          }
          await storm.progress();
          expect(storm.running().length).toBe(1);
        },
      });
    },
    TIMEOUT_MS,
  );

  test(
    "its storage is wiped while the target lags: healed from the change log",
    async () => {
      const random = new Random(testSeed());
      await using server = await startNats();
      const queue = natsBed(server.url);
      await using bed = await TestBed.make(
        { source: "sqlite", target: "sqlite" },
        { queueUrl: queue.url },
      );
      await weather(bed, {
        random,
        begin: (storm) => {
          for (const role of ["relay", "applier"]) storm.run(["--role", role]);
        },
        faults: async (storm) => {
          for (const lose of [queue.loseStreams, queue.dispose]) {
            await storm.progress();
            await storm.running()[1]?.kill();
            // The relay goes on and the stream holds what nobody has applied.
            await storm.written(50);
            await lose();
            await storm.chance(300);
            storm.run(["--role", "applier"]);
            await storm.progress();
          }
          // With everything running.
          await queue.loseStreams();
          await storm.progress();
          await queue.dispose();
          await storm.progress();
          expect(storm.running().length).toBe(2);
        },
      });
    },
    TIMEOUT_MS,
  );
});

test.skipIf(!available({ source: "postgres", target: "mariadb", queue: "nats" }))(
  "everything at random: processes and both servers",
  async () => {
    const random = new Random(testSeed());
    await using source = await startPostgres();
    await using target = await startMariadb();
    await using broker = await startNats();
    await using bed = await TestBed.make(
      { source: "postgres", target: "mariadb" },
      { queueUrl: broker.url, servers: { source: source.url, target: target.url } },
    );
    await weather(bed, {
      random,
      faults: async (storm) => {
        for (let turn = 0; turn < 6; turn++) {
          await storm.progress();
          await storm.chance(200);
          const victim = random.pick(["run", "source", "target", "broker"]);
          if (victim === "run") {
            await storm.running()[0]?.kill();
            storm.run();
          } else {
            const server = { source, target, broker }[victim];
            await server.kill();
            await storm.chance(200);
            await server.start();
          }
        }
        await storm.progress();
        expect(storm.running().length).toBe(1);
      },
    });
  },
  TIMEOUT_MS,
);
