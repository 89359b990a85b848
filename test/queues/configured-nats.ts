// A NATS server with a configuration of its own, logins included, for as long as one piece of work.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { choosePort } from "../servers/ports.ts";
import { findProgram } from "../servers/programs.ts";

/** `config` is in the server's own language; the address and the folder are added. `restart`: with another one, on the same port and folder. */
export async function withConfiguredNats(
  config: string,
  work: (address: string, restart: (config: string) => Promise<void>) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tidemark-nats-"));
  const port = await choosePort();
  let end = await start(folder, port, config);
  try {
    await work(`127.0.0.1:${port}`, async (next) => {
      await end();
      end = await start(folder, port, next);
    });
  } finally {
    await end();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Gives what ends it. */
async function start(folder: string, port: number, config: string): Promise<() => Promise<void>> {
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
  return async () => {
    child.kill("SIGKILL");
    await exited;
  };
}
