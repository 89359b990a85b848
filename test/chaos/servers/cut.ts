// A power cut: what runs on the machines that lose it stops where it is, what they had not synced is gone, and all of
// it is started again.
import { sleep } from "../../../src/core/async.ts";
import type { Random } from "../../support/random.ts";
import type { Clients } from "./clients.ts";
import type { Stage } from "./faults.ts";
import type { FaultKind } from "./plan.ts";
import { PARTS, type Part, type Power } from "./power.ts";

export interface Wires {
  readonly power: Power;
  readonly clients: Clients;
  /** Whoever in the test has the queue open closes it. */
  readonly leaveQueue: () => Promise<void>;
  /** When the power is back and the servers are, before Tidemark's processes that had lost it. */
  readonly lookAt: (parts: readonly Part[]) => Promise<void>;
  readonly enterQueue: () => Promise<void>;
  /** Throws when a database does not. */
  readonly answers: () => Promise<true>;
}

/** As counted: of all where all parts are on one disk. */
export function nameOfCut(parts: readonly Part[]): FaultKind {
  const [first = "queue", ...more] = parts;
  return more.length > 0 ? "power cut of all" : `power cut of the ${first}`;
}

/** Without power they are up to so long. */
const DARK_MS = 1_000;

export async function cutPower(
  asked: readonly Part[],
  { crew, totals, wires }: Stage & { readonly wires: Wires },
  random: Random,
): Promise<void> {
  const { power, clients } = wires;
  const parts = power.with(asked);
  using _held = await power.hold();
  // Tidemark may run on the machine of a server that loses power.
  const takesAll = parts.length === PARTS.length || random.chance(0.3);
  const hit = crew.members.filter(({ role }) => takesAll || power.isUsedBy(role, parts));
  const sides = (["source", "target"] as const).filter((side) => parts.includes(side));
  const hasQueue = parts.includes("queue");
  if (hasQueue) await wires.leaveQueue();
  for (const side of sides) await clients.darken(side);
  for (const member of hit) member.seize();
  power.cut(parts);
  await Promise.all(hit.map((member) => member.hold()));
  totals.kills += hit.length + power.serversOn(parts);
  await power.mend(parts);
  await sleep(random.unit() * DARK_MS);
  await power.start(parts);
  for (const side of sides) clients.light(side);
  await wires.lookAt(parts);
  for (const member of hit) member.release();
  if (hasQueue) await wires.enterQueue();
}
