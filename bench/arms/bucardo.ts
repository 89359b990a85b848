// Bucardo: triggers that note keys, and a daemon in Perl that copies the rows of those keys in
// rounds. One sync from source to target, kicked by the triggers (autokick, its default).
import { copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Bed } from "../bed.ts";
import { onServer } from "../database.ts";
import { type PostgresTree, postgresTree } from "../fetch/postgres-tree.ts";
import { Pair } from "../pair.ts";
import { runProgram } from "../programs.ts";
import type { Arm, Rival, RivalSetup } from "./arm.ts";

const PATIENCE_MS = 60_000;

export async function createBucardo({ bed, name, tables, fill }: RivalSetup): Promise<Rival> {
  const tree = await postgresTree();
  const pair = await Pair.create(bed, name);
  await fill(pair);
  const control = await Control.create(bed, name, tree);
  for (const [role, { url }] of Object.entries({ source: pair.source, target: pair.target })) {
    const { hostname, port, username, password, pathname } = new URL(url);
    await control.run(
      ...["add", "db", role, `dbname=${pathname.slice(1)}`, `dbhost=${hostname}`],
      ...[`dbport=${port}`, `dbuser=${username}`, `dbpass=${password}`],
    );
  }
  const named = tables.map((table) => `public.${table}`);
  await control.run("add", "table", ...named, "db=source", "relgroup=bench");
  await control.run("add", "sync", "bench", "relgroup=bench", "dbs=source:source,target:target");
  await pair.source.query("ANALYZE");
  const arm = new Bucardo(pair, control);
  bed.atEnd(() => arm.stop());
  const version = /version (\S+)/.exec(await control.run("--version"))?.[1];
  return { arm, version: version ?? "unknown" };
}

class Bucardo implements Arm {
  readonly pair: Pair;
  readonly #control: Control;

  constructor(pair: Pair, control: Control) {
    this.pair = pair;
    this.#control = control;
  }

  async start(): Promise<void> {
    await this.#control.run("start");
    // Only a kid copies; from then on every change kicks it.
    await this.#control.until((programs) => programs.some((name) => name.includes(".kid.")));
  }

  async stop(): Promise<void> {
    const pids = this.#control.pids();
    if (pids.size === 0) return;
    await this.#control.run("stop");
    await this.#control.until((programs) => programs.length === 0);
    // The program that cleans up afterwards may outlive the one that started it.
    for (const pid of pids.values()) signal(pid, "SIGTERM");
  }

  async hold(): Promise<void> {
    for (const pid of this.#control.pids().values()) signal(pid, "SIGSTOP");
  }

  async release(): Promise<void> {
    for (const pid of this.#control.pids().values()) signal(pid, "SIGCONT");
  }
}

/** Bucardo's own database, on a server whose Perl finds Bucardo's modules, and its programs. */
class Control {
  readonly #folder: string;
  readonly #program: string;
  readonly #env: Readonly<Record<string, string>>;
  readonly #connection: readonly string[];

  static async create(bed: Bed, name: string, tree: PostgresTree): Promise<Control> {
    const env = { PERL5LIB: tree.perl };
    const { url } = await bed.postgres(`control of ${name}`, { programs: tree.bin, env });
    const { hostname, port, password } = new URL(url);
    const folder = join(bed.folder, name);
    mkdirSync(folder);
    // The installer looks for the schema where it is run.
    copyFileSync(
      join(tree.root, "usr/share/bucardo/bucardo.schema"),
      join(folder, "bucardo.schema"),
    );
    // Made beforehand, with a password: the installer would give it none, and then not get in.
    await onServer(url, `CREATE ROLE bucardo SUPERUSER LOGIN PASSWORD '${password}'`);
    const control = new Control(folder, join(tree.root, "usr/bin/bucardo"), {
      env: { ...env, PGPASSWORD: password, HOME: folder },
      address: [`--dbhost=${hostname}`, `--dbport=${port}`],
    });
    await control.#install();
    return control;
  }

  private constructor(
    folder: string,
    program: string,
    { env, address }: { env: Record<string, string>; address: readonly string[] },
  ) {
    this.#folder = folder;
    this.#program = program;
    this.#env = env;
    this.#connection = ["--no-bucardorc", ...address];
  }

  run(...args: readonly string[]): Promise<string> {
    const places = [`--pid-dir=${this.#folder}`, `--log-destination=${this.#folder}`];
    return this.#perl("--dbname=bucardo", "--dbuser=bucardo", ...places, ...args);
  }

  /** Of its programs, by the names of the files in which they note them. */
  pids(): ReadonlyMap<string, number> {
    const files = readdirSync(this.#folder).filter((name) => name.endsWith(".pid"));
    const pids = new Map<string, number>();
    for (const file of files) {
      const path = join(this.#folder, file);
      const pid = existsSync(path) ? Number.parseInt(readFileSync(path, "utf8"), 10) : Number.NaN;
      if (pid > 0) pids.set(file, pid);
    }
    return pids;
  }

  async until(isSo: (programs: readonly string[]) => boolean): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    while (!isSo([...this.pids().keys()])) {
      if (performance.now() > deadline) {
        const log = readFileSync(join(this.#folder, "log.bucardo"), "utf8").slice(-2_000);
        throw new Error(`Bucardo's programs did not start, or end, in time:\n${log}`);
      }
      await sleep(50);
    }
  }

  async #install(): Promise<void> {
    const where = ["--dbname=postgres", "--dbuser=postgres", `--pid-dir=${this.#folder}`];
    await this.#perl("install", "--batch", ...where);
    const files = ["reason_file", "log_conflict_file", "warning_file"].map(
      (setting) => `${setting}=${join(this.#folder, setting)}`,
    );
    await this.run("set", ...files);
  }

  #perl(...args: readonly string[]): Promise<string> {
    return runProgram("perl", [this.#program, ...this.#connection, ...args], {
      env: this.#env,
      cwd: this.#folder,
    });
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}
