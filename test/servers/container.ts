// Where a server is not installed but a container engine runs, the server runs in a container. The
// engine's client stays in front of it, so that its pid stands for the server: a signal to the
// client reaches the server, and with --rm the container is gone when the server ends.
import { execFile, spawnSync } from "node:child_process";
import { promisify } from "node:util";
import { serverFolder } from "./account.ts";
import { findProgram } from "./programs.ts";
import { launch, type Server, type ServerKind } from "./server.ts";

export interface Image {
  readonly image: string;
  /** The port inside. */
  readonly port: number;
  readonly environment: Readonly<Record<string, string>>;
  /** What follows the image's name: arguments of the server. */
  readonly args: readonly string[];
  /** How this kind of server is ended, asked and addressed, wherever it runs. */
  readonly kind: Pick<ServerKind, "name" | "stopSignal" | "url" | "ping">;
}

export async function startContainer(description: Image): Promise<Server> {
  const { image, port: inside, environment, args, kind } = description;
  const engine = containerEngine();
  if (!engine) throw new Error(`${kind.name}: no container engine runs here.`);
  // The download is not the server's start, and may take longer than one is given.
  await promisify(execFile)(engine, ["pull", "--quiet", image]);
  const folder = serverFolder(kind.name, undefined);
  const variables = Object.entries(environment).flatMap(([name, value]) => [
    "-e",
    `${name}=${value}`,
  ]);
  return launch({
    ...kind,
    folder,
    account: undefined,
    disposeSignal: kind.stopSignal, // SIGKILL would end the client and leave the container
    command: (port) => ({
      command: engine,
      args: [
        ...["run", "--rm", "--publish", `127.0.0.1:${port}:${inside}`],
        ...variables,
        image,
        ...args,
      ],
    }),
  });
}

let found: { engine: string | undefined } | undefined;

/** Docker or Podman, if its engine answers: a client without an engine is of no use. */
export function containerEngine(): string | undefined {
  found ??= {
    engine: ["docker", "podman"]
      .map((name) => findProgram(name))
      .filter((program) => program !== undefined)
      .find(
        (program) =>
          spawnSync(program, ["info"], { stdio: "ignore", timeout: 10_000 }).status === 0,
      ),
  };
  return found.engine;
}
