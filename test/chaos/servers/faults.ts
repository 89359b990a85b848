// How each fault is done. Each resolves when it is over: what was stalled or frozen goes on, what was killed is
// started again. True when it has really happened.
import { sleep } from "../../../src/core/async.ts";
import type { Server } from "../../servers/index.ts";
import type { Random } from "../../support/random.ts";
import type { Crew } from "./crew.ts";
import { cutPower, type Wires } from "./cut.ts";
import type { WorldServers } from "./fleet.ts";
import type { LinkName, Network } from "./network.ts";
import { type FaultKind, RUNNING, roleOf } from "./plan.ts";
import { PARTS, type Part } from "./power.ts";
import type { Totals } from "./tally.ts";

export interface Stage {
  readonly crew: Crew;
  readonly network: Network;
  readonly servers: WorldServers;
  readonly totals: Totals;
  readonly isApart: boolean;
  /** The queue forgets: what it stores of streams, or all. */
  readonly loseStreams: () => Promise<void>;
  readonly loseQueue: () => Promise<void>;
  /** Null where no power can be cut. */
  readonly wires: Wires | null;
}

type Fault = (stage: Stage, random: Random) => Promise<boolean>;

/** A failpoint that is not passed in this time does not count. */
const FAILPOINT_MS = 8_000;
const ANSWER_MS = 4_000;
/** MariaDB looks once a minute whether there is space again. */
const STARTING_MS = 80_000;
/** Before a cut of power, so that all are at work. */
const QUIET_MS = 1_500;

export function causeFault(fault: FaultKind, stage: Stage, random: Random): Promise<boolean> {
  return HOW[fault](stage, random);
}

const HOW: Readonly<Record<FaultKind, Fault>> = {
  "process killed": async ({ crew }, random) => {
    await crew.kill(anyOf(crew.members, random));
    return true;
  },
  "process frozen": async ({ crew }, random) => {
    const { process } = anyOf(crew.members, random);
    process.freeze();
    await sleep(500 + random.unit() * 3_500);
    process.thaw();
    return !process.hasEnded;
  },
  "process killed at a failpoint": async ({ crew }, random) => {
    const failpoint = anyOf(RUNNING, random);
    const times = random.pick([1, 1, 2, 5]);
    return await crew.dieAt(failpoint, times, {
      role: roleOf(failpoint),
      patienceMs: FAILPOINT_MS,
    });
  },
  "process started twice": async ({ crew, isApart }, random) => {
    // More than so many say nothing new.
    if (crew.members.length >= 5) return false;
    crew.add(isApart ? random.pick(["relay", "applier", "all"]) : "all");
    return true;
  },
  "clock jumped": async ({ crew }, random) => {
    const { process } = anyOf(crew.members, random);
    // One that has only just begun would be ended by the signal.
    if (!process.output.includes('"event":"status"') || process.hasEnded) return false;
    process.jumpClock();
    return true;
  },
  "link cut": async ({ network }, random) => anyLink(network, random).cut() > 0,
  "link abandoned": async ({ network }, random) =>
    anyLink(network, random).abandon(random.unit() * 5_000) > 0,
  "link half closed": async ({ network }, random) => anyLink(network, random).halfClose() > 0,
  "link stalled": async ({ network }, random) => {
    const link = anyLink(network, random);
    const connections = link.stall();
    await sleep(500 + random.unit() * 4_500);
    link.heal();
    return connections > 0;
  },
  "link slowed": async ({ network }, random) => {
    const link = anyLink(network, random);
    const connections = link.slow(random.between(5, 80));
    await sleep(1_000 + random.unit() * 3_000);
    link.heal();
    return connections > 0;
  },
  "links stalled one by one": async ({ network }, random) => {
    let connections = 0;
    const links = shuffled([...network.links.values()], random);
    for (const link of links) {
      connections += link.stall();
      await sleep(random.unit() * 1_200);
    }
    for (const link of shuffled(links, random)) {
      await sleep(random.unit() * 1_200);
      link.heal();
    }
    return connections > 0;
  },
  "answer to COMMIT lost": async ({ network }, random) => {
    const databases = (["source", "target"] as const).filter((name) => network.links.has(name));
    return await answerLost(network, anyOf(databases, random), "COMMIT");
  },
  "answer of the queue lost": async ({ network }, random) => {
    const ways = (["queue of the relay", "queue of the applier"] as const).filter(
      (name) => (network.links.get(name)?.connections ?? 0) > 0,
    );
    return ways.length > 0 && (await answerLost(network, anyOf(ways, random), "PUB "));
  },
  "source killed": ({ servers, totals }, random) => kill(servers.source, totals, random),
  "source restarted": ({ servers }) => restart(servers.source),
  "source frozen": ({ servers }, random) => freeze(servers.source, random),
  "target killed": ({ servers, totals }, random) => kill(servers.target, totals, random),
  "target restarted": ({ servers }) => restart(servers.target),
  "target frozen": ({ servers }, random) => freeze(servers.target, random),
  "broker killed": ({ servers, totals }, random) => kill(servers.broker, totals, random),
  "broker restarted": ({ servers }) => restart(servers.broker),
  "broker frozen": ({ servers }, random) => freeze(servers.broker, random),
  "streams of the broker lost": async ({ loseStreams }) => {
    await loseStreams();
    return true;
  },
  "all of the broker lost": async ({ loseQueue }) => {
    await loseQueue();
    return true;
  },
  "queue file deleted": async ({ crew, loseQueue }, random) => {
    // While they run, or while all of them are down.
    const isDown = random.chance(0.5);
    if (isDown) await Promise.all(crew.members.map((member) => member.hold()));
    await loseQueue();
    for (const member of crew.members) member.release();
    return true;
  },
  "power cut of the queue": (stage, random) => darken(stage, ["queue"], random),
  "power cut of the source": (stage, random) => darken(stage, ["source"], random),
  "power cut of the target": (stage, random) => darken(stage, ["target"], random),
  "power cut of all": (stage, random) => darken(stage, PARTS, random),
  "disk of the queue full": (stage, random) => fillDisks(stage, ["queue"], random),
  "disk of the source full": (stage, random) => fillDisks(stage, ["source"], random),
  "disk of the target full": (stage, random) => fillDisks(stage, ["target"], random),
  "all disks full": (stage, random) => fillDisks(stage, PARTS, random),
  // Of a kind of its own: nothing heals after it (world.ts).
  "source restored to the past": async () => false,
};

/** At any moment, or when a process has just died at a failpoint. */
async function darken(stage: Stage, parts: readonly Part[], random: Random): Promise<boolean> {
  const { crew, wires } = stage;
  if (wires === null) return false;
  const cut = () => cutPower(parts, { ...stage, wires }, random);
  if (random.chance(0.5)) {
    await sleep(random.unit() * QUIET_MS);
    await cut();
    return true;
  }
  const failpoint = anyOf(RUNNING, random);
  const options = { role: roleOf(failpoint), patienceMs: FAILPOINT_MS, whileDown: cut };
  await crew.dieAt(failpoint, random.pick([1, 1, 2, 5]), options);
  return true;
}

/** Under running processes, or so that they find it full when they start. */
async function fillDisks(
  { wires, crew }: Stage,
  parts: readonly Part[],
  random: Random,
): Promise<boolean> {
  if (wires === null) return false;
  const { power } = wires;
  using _held = await power.hold();
  power.fill(parts);
  try {
    await sleep(500 + random.unit() * 1_500);
    if (random.chance(0.4)) await Promise.all(crew.members.map((member) => crew.kill(member)));
    await sleep(random.unit() * 3_000);
  } finally {
    power.free(parts);
  }
  for (const end = performance.now() + STARTING_MS; ; await sleep(200)) {
    try {
      await power.start(parts);
      return await wires.answers();
    } catch (error) {
      if (performance.now() > end) throw error;
    }
  }
}

/** From a kill to the start the server is away for up to so long. */
const AWAY_MS = 1_500;

async function kill(server: Server | null, totals: Totals, random: Random): Promise<boolean> {
  if (server === null) return false;
  totals.kills++;
  await server.kill();
  await sleep(random.unit() * AWAY_MS);
  await server.start();
  return true;
}

async function restart(server: Server | null): Promise<boolean> {
  await server?.restart();
  return server !== null;
}

async function freeze(server: Server | null, random: Random): Promise<boolean> {
  if (server === null) return false;
  server.freeze();
  await sleep(500 + random.unit() * 3_500);
  server.thaw();
  return true;
}

async function answerLost(network: Network, name: LinkName, marker: string): Promise<boolean> {
  const link = network.links.get(name);
  if (link === undefined) return false;
  const late = new AbortController();
  const lost = await Promise.race([
    link.loseAnswerTo(marker).then(() => true),
    sleep(ANSWER_MS, late.signal).then(() => false),
  ]);
  late.abort();
  // Else it would come later, when all is said to be healed.
  if (!lost) link.loseNoAnswer();
  return lost;
}

function anyLink(network: Network, random: Random) {
  const all = [...network.links.values()];
  const used = all.filter(({ connections }) => connections > 0);
  return anyOf(used.length > 0 ? used : all, random);
}

function anyOf<T>(items: readonly T[], random: Random): T {
  const [first, ...rest] = items;
  if (first === undefined) throw new Error("Nothing to choose from.");
  return random.pick([first, ...rest]);
}

function shuffled<T>(items: readonly T[], random: Random): readonly T[] {
  const left = [...items];
  return items.flatMap(() => left.splice(random.between(0, left.length - 1), 1));
}
