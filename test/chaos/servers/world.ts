// One world: the bank and the games under the faults of a seed, judged while they go on and at their end.
import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { sleep } from "../../../src/core/async.ts";
import type { PipelineDefinition } from "../../../src/core/definition.ts";
import { waitForSync } from "../../../src/pipeline/wait.ts";
import { natsBed } from "../../queues/nats-bed.ts";
import { sqliteBed } from "../../queues/sqlite-bed.ts";
import { countApplications, wronglyApplied } from "../../support/applications.ts";
import { backupOf } from "../../support/backup.ts";
import { BANK, BANK_NAMES, fillBank, runClient, runWriter } from "../../support/bank.ts";
import { BankReader } from "../../support/bank-reader.ts";
import { PipelineProcess } from "../../support/pipeline-process.ts";
import type { Random } from "../../support/random.ts";
import {
  type Dialect,
  dialectOf,
  isTransient,
  openSql,
  type SqlClient,
} from "../../support/sql-client.ts";
import { TestBed } from "../../support/test-bed.ts";
import { contents, createTables } from "../../support/test-tables.ts";
import { Clients, type Side } from "./clients.ts";
import { counted } from "./counted-sql.ts";
import { type Configs, Crew, type Preload } from "./crew.ts";
import { nameOfCut, type Wires } from "./cut.ts";
import { Diary } from "./diary.ts";
import { causeFault, type Stage } from "./faults.ts";
import type { Fleet, WorldServers } from "./fleet.ts";
import {
  addNoteColumn,
  fillGames,
  flood,
  GAME_RULES,
  GAMES,
  playGame,
  tellSaga,
  turnPages,
} from "./games.ts";
import { GamesReader } from "./games-reader.ts";
import { isPurged } from "./log-left.ts";
import { Network } from "./network.ts";
import { openPatiently } from "./patient-queue.ts";
import { type Game, nameOfGame, roleOf, type Turn, type WorldPlan } from "./plan.ts";
import type { Plant } from "./plants.ts";
import { PARTS, Power } from "./power.ts";
import { count, type Totals } from "./tally.ts";
import { Waiter } from "./waiter.ts";

/** From the end of a fault until both sides are in step; more is a stall. */
const HEALING_MS = 90_000;
/** A million rows, begun again after a fault. */
const FLOOD_MS = 240_000;
const PURGING_MS = 20_000;
const BEGINNING_MS = 20_000;
const STOPPING_MS = 60_000;
const READER_PAUSE_MS = 40;
const RESULTS = ".test-results";
const UNSYNCED = new URL("./unsynced.ts", import.meta.url).href;
const { TIDEMARK_TEST_KEEP } = process.env;

/** Plays a world, adds what it did to the totals, and gives what was violated. */
export async function playWorld(
  plan: WorldPlan,
  fleet: Fleet,
  totals: Totals,
): Promise<readonly string[]> {
  const { source, target } = plan.pair;
  const { pair, wiring, plant } = plan;
  const settings = plant?.settings ?? {};
  await using power = wiring === null ? null : await Power.supply({ pair, wiring, settings });
  const servers = power === null ? await fleet.serversOf(plan.pair) : power.servers;
  const queue =
    servers.broker === null ? sqliteBed(power?.folderOf("queue")) : natsBed(servers.broker.url);
  await using bed = await TestBed.make(
    { source, target },
    {
      queueUrl: queue.url,
      servers: {
        ...(servers.source === null ? {} : { source: servers.source.url }),
        ...(servers.target === null ? {} : { target: servers.target.url }),
      },
      ...(power === null
        ? {}
        : {
            folders: { source: power.folderOf("source"), target: power.folderOf("target") },
            commits: "durable",
          }),
    },
  );
  await using network = await Network.start(servers);
  const world = new World({ plan, bed, servers, network, queue, power, totals });
  try {
    await world.play();
  } catch (error) {
    world.violations.push(error instanceof Error ? `${error.stack}` : `${error}`);
  } finally {
    await world.close();
    const healed = power?.healed ?? 0;
    if (healed > 0) count(totals.states, "broker started again that did not answer", healed);
    if (world.violations.length > 0 || TIDEMARK_TEST_KEEP) keepSaid(bed.folder, plan.seed);
    // Else it goes with its disk.
    if (power === null) await queue.dispose();
  }
  totals.seeds++;
  count(totals.pairs, `${source}-${target} over ${plan.pair.queue}`);
  return world.violations;
}

/** What its processes have said, for whoever looks into it. */
function keepSaid(folder: string, seed: number): void {
  mkdirSync(RESULTS, { recursive: true });
  copyFileSync(join(folder, "said.log"), join(RESULTS, `chaos-servers-${seed}.log`));
}

interface Parts {
  readonly plan: WorldPlan;
  readonly bed: TestBed;
  readonly servers: WorldServers;
  readonly network: Network;
  readonly queue: {
    readonly loseStreams: () => Promise<void>;
    readonly dispose: () => Promise<void>;
  };
  readonly power: Power | null;
  readonly totals: Totals;
}

class World {
  readonly violations: string[] = [];
  readonly #plan: WorldPlan;
  readonly #bed: TestBed;
  readonly #totals: Totals;
  readonly #definition: PipelineDefinition;
  readonly #configs: Configs;
  readonly #crew: Crew;
  readonly #stage: Stage;
  readonly #clients: Clients;
  readonly #preload: Preload;
  #watchers: Watchers | null = null;
  readonly #writing = new AbortController();
  readonly #saga = new AbortController();
  #writers: Promise<unknown> = Promise.resolve();
  #columns = 0;

  constructor({ plan, bed, servers, network, queue, power, totals }: Parts) {
    this.#plan = plan;
    this.#bed = bed;
    this.#totals = totals;
    const tables = [...BANK_NAMES.map((table) => ({ table })), ...GAME_RULES];
    const definition = bed.define([{ from: "source", to: "target", tables }]);
    const keptMs = plan.seed % 2 === 0 ? 0 : 5_000;
    this.#definition = { ...definition, retention: { ...definition.retention, keptMs } };
    this.#configs = network.writeConfigs(bed.folder, this.#definition);
    // A file may be harmed by whoever uses it and does not sync.
    const commits = power === null ? "as set" : "durable";
    this.#clients = new Clients((side) => bed.database(side), commits);
    const log = join(bed.folder, "said.log");
    this.#preload = preloadOf(plan.plant, bed, network);
    this.#crew = new Crew({ configs: this.#configs, totals, log, preload: this.#preload });
    this.#stage = {
      ...{ crew: this.#crew, network, servers, totals },
      isApart: plan.crew.startsWith("apart"),
      loseStreams: queue.loseStreams,
      loseQueue: "prefix" in queue ? queue.dispose : queue.loseStreams,
      wires: power === null ? null : this.#wires(power),
    };
  }

  async play(): Promise<void> {
    await this.#prepare();
    await this.#begin();
    await countApplications(await this.#bed.sql("target"));
    await this.#bed.dropSql("target");
    this.#write();
    const reader = () => this.#clients.open("target");
    const forgetful = this.#plan.pair.target === "postgres";
    const bank = new BankReader(reader, { pauseMs: READER_PAUSE_MS, forgetful });
    const games = new GamesReader(reader, forgetful);
    const diary = new Diary(
      () => this.#clients.open("source", "durable"),
      this.#plan.random.fork(),
    );
    const open = (side: Side) => this.#clients.open(side);
    const waiter = new Waiter({ definition: this.#definition, open });
    this.#watchers = { bank, games, diary, waiter };
    await waiter.start();
    try {
      for (const turn of this.#plan.turns) await this.#take(turn);
      this.#stage.network.heal();
      await this.#recover("after the last fault");
      // While somebody moves it.
      await bank.sawItMove();
      this.#saga.abort();
      await sleep(300);
      this.#writing.abort();
      await this.#writers;
      await diary.stop();
      await this.#recover("after the last change");
    } finally {
      this.#saga.abort();
      this.#writing.abort();
      await Promise.allSettled([this.#writers]);
      for (const each of [bank, games, waiter, diary]) {
        await each.stop().catch((error: Error) => this.violations.push(`${error.stack}`));
      }
    }
    this.violations.push(...bank.violations, ...games.violations, ...waiter.violations);
    count(this.#totals.states, "wait ended", waiter.waits);
    count(this.#totals.states, "notice", waiter.notices);
    count(this.#totals.states, "state of the target read", bank.states + games.looks);
    await this.#compare();
    for (const side of ["source", "target"] as const) await this.#expectDiary(side, "in the end");
    await this.#expectPurged();
    await this.#crew.end();
    this.violations.push(...this.#crew.violations.splice(0));
    if (this.#plan.rewinds) await this.#rewind();
  }

  async close(): Promise<void> {
    this.#writing.abort();
    this.#saga.abort();
    await this.#crew.killAll();
    this.violations.push(...this.#crew.violations);
  }

  async #prepare(): Promise<void> {
    const source = await this.#bed.sql("source");
    if (source.dialect === "sqlite") await source.rows("PRAGMA journal_mode = WAL");
    await createTables(source, this.#plan.pair.source, [...BANK, ...GAMES]);
    await fillBank(source);
    await fillGames(source);
    await this.#bed.dropSql("source");
  }

  /** Processes die one after the other on the way to the first time in step. */
  async #begin(): Promise<void> {
    for (const failpoint of this.#plan.beginning) {
      const role = roleOf(failpoint);
      const config = role === "relay" ? this.#configs.relay : this.#configs.applier;
      const options = { ...this.#preload, failpoint: `${failpoint}:kill`, isQuiet: true };
      await using run = PipelineProcess.start(config, [], options);
      const late = new AbortController();
      await Promise.race([run.ended(), sleep(BEGINNING_MS, late.signal)]);
      late.abort();
      await run.kill();
      // Tables that stand already, for one, are not created again.
      if (!run.diedAtFailpoint) continue;
      this.#totals.kills++;
      count(this.#totals.failpoints, failpoint);
      count(this.#totals.faults, "process killed at a failpoint");
      await this.#cutWhileCopying();
    }
    this.#crew.start(this.#plan.crew);
    await this.#inStep("at the beginning");
  }

  #write(): void {
    const { random } = this.#plan;
    const signal = this.#writing.signal;
    const { commits } = this.#plan;
    const connect = async () => counted(await this.#clients.open("source", commits), this.#totals);
    const base = () => ({ connect, random: random.fork(), transactions: Number.POSITIVE_INFINITY });
    const bank = [1, 2].map((writer) =>
      runWriter({ ...base(), writer, longMs: 200, pauseMs: 40, signal }),
    );
    const games = [1, 2].map(() => runClient({ ...base(), pauseMs: 40, signal }, playGame));
    const sagas =
      this.#plan.pair.source === "sqlite" ? Promise.resolve() : this.#tellSagas(base(), connect);
    this.#writers = Promise.all([...bank, ...games, sagas]);
    this.#writers.catch(() => {}); // thrown to whoever waits for them
  }

  /** A saga that its server has forgotten is begun again, under another number. */
  async #tellSagas(
    { random, transactions }: { readonly random: Random; readonly transactions: number },
    connect: () => Promise<SqlClient>,
  ): Promise<void> {
    let saga = 0;
    const done = new AbortController();
    const options = { connect, random, transactions, signal: done.signal };
    await runClient(options, async (sql) => {
      if (!this.#saga.signal.aborted) await tellSaga(sql, ++saga, this.#saga.signal);
      if (this.#saga.signal.aborted) done.abort();
      return true;
    });
  }

  async #take({ fault, random, healsFirst, pauseMs, game }: Turn): Promise<void> {
    const playing = game === null ? Promise.resolve() : this.#playGame(game);
    if (await causeFault(fault, this.#stage, random)) count(this.#totals.faults, fault);
    if (typeof game === "object" && game !== null) {
      await playing;
      // What a flood takes is not what healing takes.
      await this.#inStep(`after ${fault} and a flood`, FLOOD_MS);
    }
    if (healsFirst) await this.#recover(`after ${fault}`);
    await sleep(pauseMs);
    await playing;
  }

  /** Through a restart of the source; what it then did not do is not missed. */
  async #playGame(game: Game): Promise<void> {
    try {
      await using sql = counted(await this.#clients.open("source"), this.#totals);
      if (game === "pages") await turnPages(sql);
      else if (game === "column") await addNoteColumn(sql, ++this.#columns);
      else await flood(sql, game.floodOf);
      count(this.#totals.states, nameOfGame(game));
    } catch (error) {
      if (!isTransient(error)) throw error;
    }
  }

  /** Before anything but the first copy is under way. */
  async #cutWhileCopying(): Promise<void> {
    const { random } = this.#plan;
    const { power, lookAt } = this.#stage.wires ?? {};
    if (power === undefined || random.chance(0.3)) return;
    const parts = power.with([random.pick(PARTS)]);
    using _held = await power.hold();
    power.cut(parts);
    await power.mend(parts);
    await power.start(parts);
    await lookAt?.(parts);
    count(this.#totals.faults, nameOfCut(parts));
  }

  #wires(power: Power): Wires {
    return {
      power,
      clients: this.#clients,
      leaveQueue: async () => await this.#watchers?.waiter.stop(),
      enterQueue: async () => await this.#watchers?.waiter.start(),
      answers: async () => {
        for (const side of ["source", "target"] as const) {
          await using sql = await this.#clients.open(side);
          await sql.rows("SELECT 1");
        }
        return true;
      },
      lookAt: async (parts) => {
        if (parts.includes("source")) await this.#expectDiary("source", "after a power cut");
        if (parts.includes("target")) await this.#watchers?.waiter.expectKept("after a power cut");
      },
    };
  }

  /** What the source had acknowledged stands there. */
  async #expectDiary(side: Side, when: string): Promise<void> {
    const missing = await this.#watchers?.diary.missingFrom(() => this.#clients.open(side));
    if (missing === undefined || missing === 0) return;
    this.violations.push(`${when} ${missing} acknowledged transactions are not at the ${side}`);
  }

  /** Measures how long it takes until both sides are in step. */
  async #recover(when: string): Promise<void> {
    const startedAt = performance.now();
    await this.#inStep(when);
    const tookMs = Math.round(performance.now() - startedAt);
    const { recoveriesMs, slowestMs } = this.#totals;
    recoveriesMs.push(tookMs);
    slowestMs[when] = Math.max(tookMs, slowestMs[when] ?? 0);
  }

  async #inStep(when: string, patienceMs = HEALING_MS): Promise<void> {
    const until = performance.now() + patienceMs;
    const queue = await openPatiently(this.#definition, AbortSignal.timeout(patienceMs));
    try {
      const timeoutMs = Math.max(0, until - performance.now());
      await waitForSync(this.#definition, queue, { timeoutMs });
    } catch (error) {
      const said = this.#crew.members.map(({ role, output }) => `--- ${role}\n${output}`);
      throw new Error(
        `Not in step ${when}: ${(error as Error).message}\n${said.join("\n")}\n${await this.#sessions()}`,
      );
    } finally {
      await queue.close();
    }
  }

  /** Who is at work in the databases, for whoever looks into a stall. */
  async #sessions(): Promise<string> {
    const found: string[] = [];
    for (const name of ["source", "target"]) {
      try {
        await this.#bed.dropSql(name);
        const sql = await this.#bed.sql(name);
        for (const query of SESSIONS[sql.dialect]) {
          const rows = await sql.rows(query);
          found.push(...rows.map((row) => `${name}: ${JSON.stringify(row)}`));
        }
      } catch (error) {
        found.push(`${name}: ${error}`);
      }
    }
    return found.join("\n");
  }

  async #compare(): Promise<void> {
    for (const name of ["source", "target"]) await this.#bed.dropSql(name);
    for (const table of [...BANK, ...GAMES]) {
      const [source, target] = [await this.#bed.sql("source"), await this.#bed.sql("target")];
      const [is, was] = [await contents(target, table), await contents(source, table)];
      if (JSON.stringify(is) === JSON.stringify(was)) continue;
      const texts = new Set(was.map((row) => JSON.stringify(row)));
      const others = is.map((row) => JSON.stringify(row)).filter((row) => !texts.has(row));
      this.violations.push(
        `${table.name} differs: ${was.length} rows at the source, ${is.length} at the target, among them ${others.slice(0, 3)}`,
      );
    }
    const wrong = await wronglyApplied(await this.#bed.sql("target"));
    if (wrong.length > 0) this.violations.push(`${wrong.slice(0, 5)} (of ${wrong.length})`);
  }

  async #expectPurged(): Promise<void> {
    const source = await this.#bed.sql("source");
    const until = performance.now() + PURGING_MS;
    while (!(await isPurged(source))) {
      if (performance.now() > until) {
        this.violations.push("the change log still holds what all have confirmed");
        return;
      }
      await sleep(200);
    }
  }

  /** A history that is not the one published must stop the sync, and leave the target as it is. */
  async #rewind(): Promise<void> {
    const backup = backupOf(this.#plan.pair.source);
    const bank = async (transactions: number) => {
      const connect = () => openSql(this.#bed.database("source"));
      await runClient({ connect, random: this.#plan.random.fork(), transactions }, playGame);
    };
    await this.#bed.dropSql("source");
    await backup?.take(this.#bed);
    await bank(20);
    {
      await using _run = PipelineProcess.start(this.#configs.relay, [], { isQuiet: true });
      await this.#inStep("before the source is restored");
    }
    await backup?.restore(this.#bed);
    await bank(this.#plan.random.pick([2, 60]));
    const before = await this.#allOfTarget();
    await using run = PipelineProcess.start(this.#configs.relay, [], { isQuiet: true });
    const late = new AbortController();
    await Promise.race([run.ended(), sleep(STOPPING_MS, late.signal)]);
    late.abort();
    const codes = ["SOURCE-REWOUND", "SOURCE-CLONED", "TIMELINE-CHANGED"];
    // A dump that is loaded makes the tables anew.
    if (dialectOf(this.#plan.pair.source) === "mariadb") codes.push("TRUNCATE-UNSEEN");
    const named = codes.some((code) => run.output.includes(`"code":"TM-${code}"`));
    if (!run.hasEnded || run.exitCode === 0 || !named) {
      this.violations.push(
        `a source restored to the past was not named\n${run.output.slice(-3_000)}`,
      );
    }
    if ((await this.#allOfTarget()) !== before) {
      this.violations.push("a source restored to the past has changed the target");
    }
    count(this.#totals.faults, "source restored to the past");
  }

  async #allOfTarget(): Promise<string> {
    const target = await this.#bed.sql("target");
    const all: unknown[] = [];
    for (const table of [...BANK, ...GAMES]) all.push(await contents(target, table));
    return JSON.stringify(all);
  }
}

interface Watchers {
  readonly bank: BankReader;
  readonly games: GamesReader;
  readonly diary: Diary;
  readonly waiter: Waiter;
}

/** Of a fault that is built in. */
function preloadOf(plant: Plant | null, bed: TestBed, { links }: Network): Preload {
  const side = plant?.unsynced;
  if (side === undefined) return {};
  const file = bed.database(side).url.replace(/^sqlite:/, "");
  const unsynced = links.get(side)?.port ?? file;
  return { preload: [UNSYNCED], env: { TIDEMARK_TEST_UNSYNCED: `${unsynced}` } };
}

const SESSIONS: Readonly<Record<Dialect, readonly string[]>> = {
  postgres: [
    `SELECT pid, state, wait_event, pg_blocking_pids(pid) AS behind, left(query, 200) AS query
     FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()`,
  ],
  mariadb: [
    "SELECT id, command, time, state, left(info, 200) AS info FROM information_schema.processlist WHERE db = DATABASE()",
    "SELECT trx_mysql_thread_id, trx_state, trx_started, trx_rows_locked, left(trx_query, 200) AS query FROM information_schema.innodb_trx",
  ],
  sqlite: [],
};
