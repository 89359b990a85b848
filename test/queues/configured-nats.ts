// A NATS server with a configuration of its own, logins included, for as long as one piece of work.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { choosePort } from "../servers/ports.ts";
import { findProgram } from "../servers/programs.ts";

/** `config` is in the server's own language; the address and the folder are added. `restart`: with another one, on the same port and folder. `pid`: before that. */
export async function withConfiguredNats(
  config: string,
  work: (address: string, restart: (config: string) => Promise<void>, pid: number) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tidemark-nats-"));
  const port = await choosePort();
  const first = await start(folder, port, config);
  let { end } = first;
  try {
    const restart = async (next: string) => {
      await end();
      ({ end } = await start(folder, port, next));
    };
    await work(`127.0.0.1:${port}`, restart, first.pid);
  } finally {
    await end();
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Started {
  readonly pid: number;
  readonly end: () => Promise<void>;
}

async function start(folder: string, port: number, config: string): Promise<Started> {
  const file = join(folder, "nats.conf");
  writeFileSync(file, `listen: "127.0.0.1:${port}"\n${config.replace("$FOLDER", folder)}\n`);
  const child = spawn(findProgram("nats-server") ?? "nats-server", ["-c", file], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = once(child, "exit");
  const lines: string[] = [];
  for await (const line of createInterface(child.stderr)) {
    lines.push(line);
    if (line.includes("Server is ready")) break;
  }
  // Else it has ended, and whoever answers there is another.
  if (!lines.at(-1)?.includes("Server is ready")) throw new Error(lines.join("\n"));
  child.stderr.resume();
  const end = async () => {
    child.kill("SIGKILL");
    await exited;
  };
  return { pid: child.pid ?? 0, end };
}
