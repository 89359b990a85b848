// What a seed decides: the whole schedule of a world. The schedule replays, the timing of real servers does not.
import { FAILPOINTS, type Failpoint } from "../../../src/core/failpoint.ts";
import { canStart } from "../../servers/index.ts";
import { backupOf } from "../../support/backup.ts";
import type { TestPair } from "../../support/pairs.ts";
import { Random } from "../../support/random.ts";
import { type Commits, dialectOf } from "../../support/sql-client.ts";
import type { Plant } from "./plants.ts";
import { WIRINGS, type Wiring } from "./power.ts";

const FAULTS = [
  "process killed",
  "process frozen",
  "process killed at a failpoint",
  "process started twice",
  "clock jumped",
  "link cut",
  "link abandoned",
  "link half closed",
  "link stalled",
  "link slowed",
  "links stalled one by one",
  "answer to COMMIT lost",
  "answer of the queue lost",
  "source killed",
  "source restarted",
  "source frozen",
  "target killed",
  "target restarted",
  "target frozen",
  "broker killed",
  "broker restarted",
  "broker frozen",
  "streams of the broker lost",
  "all of the broker lost",
  "queue file deleted",
  "source restored to the past",
  "power cut of the queue",
  "power cut of the source",
  "power cut of the target",
  "power cut of all",
  "disk of the queue full",
  "disk of the source full",
  "disk of the target full",
  "all disks full",
] as const;

export type FaultKind = (typeof FAULTS)[number];

/** Which processes run: both halves in one, apart, and each of that twice. */
const CREWS = ["one", "apart", "one, twice", "apart, twice"] as const;
export type CrewKind = (typeof CREWS)[number];

export interface Turn {
  readonly fault: FaultKind;
  /** Whatever the fault draws: how long, which link, which process. */
  readonly random: Random;
  /** Is the next fault held back until both sides are in step? That time is measured. */
  readonly healsFirst: boolean;
  readonly pauseMs: number;
  /** At the same time. */
  readonly game: Game | null;
}

/** A large transaction, a column more, or a flood of so many rows. */
export type Game = "pages" | "column" | { readonly floodOf: number };

/** As counted. */
export function nameOfGame(game: Game): string {
  if (typeof game === "object") return `transaction of ${game.floodOf} rows`;
  return game === "pages" ? "large transaction" : "column added";
}

export interface WorldPlan {
  readonly seed: number;
  readonly pair: TestPair;
  readonly crew: CrewKind;
  /** Where processes die one after the other while the sync begins. */
  readonly beginning: readonly Failpoint[];
  readonly turns: readonly Turn[];
  /** In the end the source is brought back to an earlier time: the sync must stop and say so. */
  readonly rewinds: boolean;
  /** Of disks whose power is cut; null: all stand on the machine's own. */
  readonly wiring: Wiring | null;
  /** Of the writers, but for the one that keeps a diary. */
  readonly commits: Commits;
  readonly plant: Plant | null;
  /** For the writers. */
  readonly random: Random;
}

export interface Wishes {
  /** Faults of processes, servers and connections, or cuts of power. */
  readonly level: "servers" | "power";
  /** Of cuts of power alone. */
  readonly plant?: Plant | null;
  /** Only these; null: any that can be started here. */
  readonly pair: Pick<TestPair, "source" | "target"> | null;
  readonly queue: TestPair["queue"] | null;
  /** Faults in a world, at least and at most. */
  readonly faults: readonly [number, number];
  /** Rows of a flood, at most. */
  readonly flood: number;
}

type Kind = "sqlite" | "postgres" | "mariadb" | "mysql";
/** The more often, the cheaper its servers. */
const KINDS: readonly Kind[] = [
  ...(["sqlite", "sqlite", "postgres", "postgres", "postgres"] as const),
  ...(["mariadb", "mariadb", "mysql"] as const),
];

/** What cannot be started here, so that no world has it. */
export function missingServers(): readonly string[] {
  const kinds = [...new Set(KINDS)].filter((kind) => !canRun(kind));
  return [...kinds, ...(canStart("nats") ? [] : ["nats"])];
}

export function canRun(kind: TestPair["source"]): boolean {
  return kind === "sqlite" || canStart(kind);
}

export function planWorld(seed: number, wishes: Wishes): WorldPlan {
  const random = new Random(seed);
  const kinds = KINDS.filter(canRun) as [Kind, ...Kind[]];
  const drawn = { source: random.pick(kinds), target: random.pick(kinds) };
  const queue = random.chance(0.5) && canStart("nats") ? "nats" : "embedded";
  const pair: TestPair = { ...(wishes.pair ?? drawn), queue: wishes.queue ?? queue };
  const crew = random.pick(CREWS);
  const beginning = BEGINNING.filter(() => random.chance(0.12));
  const possible = faultsOf(pair) as [FaultKind, ...FaultKind[]];
  const [least, most] = wishes.faults;
  const turns = Array.from({ length: random.between(least, most) }, () =>
    drawTurn(random, possible, wishes.flood),
  );
  const rewinds = canRewind(pair) && random.chance(0.2);
  const plan = { seed, pair, crew, beginning, turns, rewinds, random: random.fork() };
  return { ...plan, wiring: null, commits: "as set", plant: null };
}

/** Cuts of power, disks that are full, now and then a kill, which leaves something for the next cut. */
export function planPower(seed: number, wishes: Wishes): WorldPlan {
  const { plant = null, faults } = wishes;
  const wished = plant?.pair ?? wishes.pair;
  const random = new Random(seed);
  const kinds = KINDS.filter(canRun) as [Kind, ...Kind[]];
  const drawn = { source: random.pick(kinds), target: random.pick(kinds) };
  const wiring = random.pick(WIRINGS);
  const [least, most] = faults;
  const drawnTurns = Array.from({ length: random.between(least, most) }, () =>
    drawTurn(random, wiring === "one" ? CUTS_OF_ONE : CUTS, wishes.flood),
  );
  const { source, target } = wished ?? drawn;
  // MariaDB and MySQL look once a minute whether there is space again: once in a world is enough.
  const isSlow = [source, target].some((kind) => dialectOf(kind) === "mariadb");
  const firstFull = drawnTurns.findIndex(fillsDisks);
  const turns = drawnTurns.filter((turn, at) => !isSlow || !fillsDisks(turn) || at === firstFull);
  const plan = {
    ...{ seed, crew: random.pick(CREWS), turns, wiring, rewinds: false },
    beginning: BEGINNING.filter(() => random.chance(0.12)),
    commits: random.pick(["relaxed", "durable"] as const),
    random: random.fork(),
  };
  const queue = random.chance(0.4) && canStart("nats") ? "nats" : "embedded";
  return { ...plan, pair: { source, target, queue: wishes.queue ?? queue }, plant };
}

function fillsDisks({ fault }: Turn): boolean {
  return fault.endsWith(" full");
}

const CUTS_OF_ONE: readonly [FaultKind, ...FaultKind[]] = [
  ...(["power cut of all", "power cut of all", "power cut of all"] as const),
  ...(["power cut of all", "process killed", "all disks full", "all disks full"] as const),
];
const CUTS: readonly [FaultKind, ...FaultKind[]] = [
  ...(["power cut of the queue", "power cut of the source", "power cut of the target"] as const),
  ...(["power cut of the queue", "power cut of the source", "power cut of the target"] as const),
  ...(["power cut of all", "power cut of all", "process killed"] as const),
  ...(["disk of the queue full", "disk of the source full", "disk of the target full"] as const),
  "all disks full",
];

function drawTurn(
  random: Random,
  possible: readonly [FaultKind, ...FaultKind[]],
  flood: number,
): Turn {
  return {
    fault: random.pick(possible),
    random: random.fork(),
    healsFirst: random.chance(0.5),
    pauseMs: random.unit() * 1_500,
    game: random.chance(0.3) ? drawGame(random, flood) : null,
  };
}

function drawGame(random: Random, flood: number): Game {
  const floodOf = Math.min(flood, random.pick([20_000, 20_000, 100_000, 1_000_000]));
  return random.pick(["pages", "pages", "column", { floodOf }]);
}

/** Every fault that these wishes allow in some world. */
export function allowedFaults(wishes: Wishes): readonly FaultKind[] {
  if (wishes.level === "power") return FAULTS.filter((fault) => CUTS.includes(fault));
  const kinds = [...new Set(KINDS.filter(canRun))];
  const queues = wishes.queue === null ? (["embedded", "nats"] as const) : [wishes.queue];
  const pairs = queues
    .filter((queue) => queue === "embedded" || canStart("nats"))
    .flatMap((queue) =>
      wishes.pair === null
        ? kinds.flatMap((source) => kinds.map((target) => ({ source, target, queue })))
        : [{ ...wishes.pair, queue }],
    );
  const allowed = new Set(pairs.flatMap(faultsOf));
  if (pairs.some(canRewind)) allowed.add("source restored to the past");
  return FAULTS.filter((fault) => allowed.has(fault));
}

function faultsOf({ source, target, queue }: TestPair): readonly FaultKind[] {
  const servers = { source: source !== "sqlite", target: target !== "sqlite" };
  const hasLinks = servers.source || servers.target || queue === "nats";
  return [
    "process killed",
    "process killed",
    "process frozen",
    "process killed at a failpoint",
    "process killed at a failpoint",
    "process killed at a failpoint",
    "process started twice",
    "clock jumped",
    ...(hasLinks ? LINK_FAULTS : []),
    ...(servers.source || servers.target ? (["answer to COMMIT lost"] as const) : []),
    ...(servers.source ? (["source killed", "source restarted", "source frozen"] as const) : []),
    ...(servers.target ? (["target killed", "target restarted", "target frozen"] as const) : []),
    ...(queue === "nats" ? BROKER_FAULTS : (["queue file deleted"] as const)),
  ];
}

const LINK_FAULTS: readonly FaultKind[] = [
  "link cut",
  "link abandoned",
  "link half closed",
  "link stalled",
  "link slowed",
  "links stalled one by one",
];
const BROKER_FAULTS: readonly FaultKind[] = [
  "answer of the queue lost",
  "broker killed",
  "broker restarted",
  "broker frozen",
  "streams of the broker lost",
  "all of the broker lost",
];

/** MariaDB and MySQL have no quick copy of a database. */
function canRewind({ source }: TestPair): boolean {
  return backupOf(source) !== null;
}

const BEGINNING: readonly Failpoint[] = [
  "tables-created",
  "relay-lease-taken",
  "capture-half",
  "fence-answered",
  "applier-lease-taken",
  "sync-joined",
  "chunk-sent",
];

/** Passed by a pipeline under load again and again. */
export const RUNNING: readonly Failpoint[] = (Object.keys(FAILPOINTS) as Failpoint[]).filter(
  (name) =>
    !["tables-created", "capture-half", "sync-joined", "chunk-sent", "stream-emptied"].includes(
      name,
    ) && !name.startsWith("log-"),
);
const APPLIERS: readonly string[] = [
  "applier-lease-taken",
  "commit-due",
  "committed",
  "notice-due",
  "notice-told",
  "sync-joined",
];

/** Which half passes it; a process that creates the target's tables is an applier. */
export function roleOf(failpoint: Failpoint): "relay" | "applier" {
  return APPLIERS.includes(failpoint) || failpoint === "tables-created" ? "applier" : "relay";
}
