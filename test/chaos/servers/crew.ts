// The processes of a world, and whoever starts again what has died, as a service manager does.
import { appendFileSync } from "node:fs";
import { sleep } from "../../../src/core/async.ts";
import { ERROR_CODES, type ErrorCode, TidemarkError } from "../../../src/core/errors.ts";
import type { Failpoint } from "../../../src/core/failpoint.ts";
import { PipelineProcess, type ProcessOptions } from "../../support/pipeline-process.ts";
import type { CrewKind } from "./plan.ts";
import { count, type Totals } from "./tally.ts";

export type Role = "all" | "relay" | "applier";

const ROLES: Readonly<Record<CrewKind, readonly Role[]>> = {
  one: ["all"],
  apart: ["relay", "applier"],
  "one, twice": ["all", "all"],
  "apart, twice": ["relay", "applier", "relay", "applier"],
};

const RESTART_MS = 150;
/** A process that is asked to end has so long for it. */
const END_MS = 20_000;
const MEMORY_EVERY_MS = 500;
const SHOWN_LINES = 15;
/** More than this nobody should need, Node itself included. */
const MOST_MEGABYTES = 450;

/** What processes say when something interesting has happened. */
const STATES: readonly (readonly [state: string, said: RegExp])[] = [
  ["stream sent again", /filling in from the log|resending from|publishing batches the stream/g],
  ["relay began anew", /relay interrupted: trying again/g],
  ["applier began anew", /applier interrupted: trying again/g],
  ["stood by", /standing by/g],
  ["joined the stream", /joined the stream/g],
  ["met a full disk", /TM-DISK-FULL/g],
];

export interface Configs {
  /** A config for each half, whose ways to the queue differ. */
  readonly relay: string;
  readonly applier: string;
}

export type Preload = Pick<ProcessOptions, "preload" | "env">;

export interface CrewOptions {
  readonly configs: Configs;
  readonly totals: Totals;
  readonly log: string;
  /** A fault that is built in (plants.ts). */
  readonly preload?: Preload;
}

export class Crew {
  readonly violations: string[] = [];
  readonly #configs: Configs;
  readonly #totals: Totals;
  readonly #members: Member[] = [];
  readonly #memory: NodeJS.Timeout;
  readonly #log: string;
  readonly #preload: Preload;
  #peakMegabytes = 0;

  /** `log`: a file for all that the processes say, but for how things stand. */
  constructor({ configs, totals, log, preload = {} }: CrewOptions) {
    this.#configs = configs;
    this.#log = log;
    this.#preload = preload;
    appendFileSync(log, "");
    this.#totals = totals;
    this.#memory = setInterval(() => this.#measure(), MEMORY_EVERY_MS);
  }

  start(kind: CrewKind): void {
    for (const role of ROLES[kind]) this.add(role);
  }

  add(role: Role): void {
    const { relay, applier } = this.#configs;
    const args = role === "all" ? [] : ["--role", role];
    const config = role === "applier" ? applier : relay;
    const start = (failpoint: string | null) =>
      PipelineProcess.start(config, args, {
        ...this.#preload,
        clockJumps: true,
        isQuiet: true,
        onOutput: (text) => this.#hear(text),
        ...(failpoint === null ? {} : { failpoint }),
      });
    this.#members.push(new Member(role, start, this.violations));
  }

  get members(): readonly Member[] {
    return this.#members;
  }

  async kill(member: Member): Promise<void> {
    this.#totals.kills++;
    await member.kill();
  }

  /**
   * Runs one of them, and no other of its kind, until it dies at that failpoint; false when it does not
   * come by there in time.
   */
  async dieAt(failpoint: Failpoint, times: number, options: DeathOptions): Promise<boolean> {
    const { role, patienceMs, whileDown } = options;
    const able = this.#members.filter((member) => member.role === role || member.role === "all");
    const [victim, ...others] = able;
    if (victim === undefined) return false;
    await Promise.all(able.map((member) => member.hold()));
    const died = await victim.dieAt(`${failpoint}:kill@${times}`, patienceMs);
    await whileDown?.();
    for (const member of [victim, ...others]) member.release();
    if (!died) return false;
    this.#totals.kills++;
    count(this.#totals.failpoints, failpoint);
    return true;
  }

  /** Asks all to end, as an operator does; whoever does not has got stuck. */
  async end(): Promise<void> {
    clearInterval(this.#memory);
    this.#measure();
    await Promise.all(
      this.#members.map(async (member) => {
        if (!(await member.end())) {
          this.violations.push(
            `a process (${member.role}) did not end when asked to\n${member.output}`,
          );
        }
      }),
    );
    this.#totals.peakMegabytes = Math.max(this.#totals.peakMegabytes, this.#peakMegabytes);
    if (this.#peakMegabytes > MOST_MEGABYTES) {
      this.violations.push(`a process has grown to ${this.#peakMegabytes} MB`);
    }
  }

  async killAll(): Promise<void> {
    clearInterval(this.#memory);
    await Promise.all(this.#members.map((member) => member.hold()));
  }

  #measure(): void {
    const sizes = this.#members.map(({ process }) => process.peakMegabytes);
    this.#peakMegabytes = Math.max(this.#peakMegabytes, ...sizes);
  }

  #hear(text: string): void {
    appendFileSync(this.#log, told(text, Number.POSITIVE_INFINITY));
    for (const [state, said] of STATES) {
      const times = text.match(said)?.length ?? 0;
      if (times > 0) count(this.#totals.states, state, times);
    }
  }
}

/** What a process has said last, without how things stood. */
function told(output: string, lines: number): string {
  const telling = output.split("\n").filter((line) => !line.includes('"event":"status"'));
  return telling
    .slice(-lines)
    .map((line) => line.slice(0, 1_000))
    .join("\n");
}

interface DeathOptions {
  readonly role: "relay" | "applier";
  readonly patienceMs: number;
  /** Done before any of them is started again. */
  readonly whileDown?: () => Promise<void>;
}

export class Member {
  readonly role: Role;
  process: PipelineProcess;
  readonly #start: (failpoint: string | null) => PipelineProcess;
  readonly #violations: string[];
  /** While it is not to be started again; resolves when it is. */
  #held: PromiseWithResolvers<void> | null = null;
  #isEnding = false;
  readonly #killed = new WeakSet<PipelineProcess>();

  constructor(
    role: Role,
    start: (failpoint: string | null) => PipelineProcess,
    violations: string[],
  ) {
    this.role = role;
    this.#start = start;
    this.#violations = violations;
    this.process = start(null);
    void this.#keep();
  }

  get output(): string {
    return told(this.process.output, SHOWN_LINES);
  }

  /** Dead when it resolves, and started again a moment later. */
  async kill(): Promise<void> {
    this.#killed.add(this.process);
    await this.process.kill();
  }

  /** As it loses power: from now on it does nothing, and what becomes of it says nothing. */
  seize(): void {
    this.#held ??= Promise.withResolvers();
    this.#killed.add(this.process);
    this.process.freeze();
  }

  /** Kills it, and keeps it down. */
  async hold(): Promise<void> {
    this.#held ??= Promise.withResolvers();
    await this.kill();
  }

  release(): void {
    this.#held?.resolve();
    this.#held = null;
  }

  /** Of one that is held: true when it has died there in time. It is down when this resolves. */
  async dieAt(failpoint: string, patienceMs: number): Promise<boolean> {
    const doomed = this.#start(failpoint);
    const late = new AbortController();
    await Promise.race([doomed.ended(), sleep(patienceMs, late.signal)]);
    late.abort();
    await doomed.kill();
    return doomed.diedAtFailpoint;
  }

  async end(): Promise<boolean> {
    this.#isEnding = true;
    this.release();
    const late = new AbortController();
    const ended = this.process.stop();
    const inTime = await Promise.race([
      ended.then(() => true),
      sleep(END_MS, late.signal).then(() => false),
    ]);
    late.abort();
    if (!inTime) await this.process.kill();
    return inTime;
  }

  async #keep(): Promise<void> {
    for (;;) {
      await this.process.ended();
      if (this.#isEnding) return;
      if (!this.#killed.has(this.process)) this.#judgeEnd(this.process);
      await sleep(RESTART_MS);
      await this.#held?.promise;
      if (this.#isEnding) return;
      this.process = this.#start(null);
    }
  }

  /** It ended by itself. That is right only at its start, when something that it needs was away. */
  #judgeEnd({ output, exitCode }: PipelineProcess): void {
    const code = /"error":\{"code":"(?<code>TM-[A-Z-]+)"/.exec(output)?.groups?.code;
    const isKnown = (ERROR_CODES as readonly (string | undefined)[]).includes(code);
    const hadBegun = output.includes('"event":"status"');
    const waits = isKnown && new TidemarkError(code as ErrorCode, "").retryable;
    if (waits && !hadBegun) return;
    this.#violations.push(
      `a process (${this.role}) ended by itself with ${exitCode}, ${code ?? "no code"}\n${told(output, SHOWN_LINES)}`,
    );
  }
}
