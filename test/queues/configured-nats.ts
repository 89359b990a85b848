// A NATS server with a configuration of its own, logins included, for as long as one piece of work.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { choosePort } from "../servers/ports.ts";
import { findProgram } from "../servers/programs.ts";

/** `config` is in the server's own language; the address and the folder are added. */
export async function withConfiguredNats(
  config: string,
  work: (address: string) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "tidemark-nats-"));
  const port = await choosePort();
  const file = join(folder, "nats.conf");
  writeFileSync(file, `listen: "127.0.0.1:${port}"\n${config.replace("$FOLDER", folder)}\n`);
  const child = spawn(findProgram("nats-server") ?? "nats-server", ["-c", file], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  const exited = once(child, "exit");
  try {
    const lines: string[] = [];
    for await (const line of createInterface(child.stderr)) {
      lines.push(line);
      if (line.includes("Server is ready")) break;
    }
    // Else it has ended, and whoever answers there is another.
    if (!lines.at(-1)?.includes("Server is ready")) throw new Error(lines.join("\n"));
    child.stderr.resume();
    await work(`127.0.0.1:${port}`);
  } finally {
    child.kill("SIGKILL");
    await exited;
    rmSync(folder, { recursive: true, force: true });
  }
}
