// A NATS server of our own with JetStream on files.
import { writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { serverAccount, serverFolder } from "./account.ts";
import { startContainer } from "./container.ts";
import { findProgram } from "./programs.ts";
import { launch, type Server } from "./server.ts";

const COMMON = {
  name: "nats",
  stopSignal: "SIGTERM",
  url: (port: number) => `nats://127.0.0.1:${port}`,
  ping,
} as const;

export interface NatsOptions {
  /** The text of its configuration. */
  readonly config?: string;
  /** The folder that its own is made in, instead of the usual one: a disk whose power is cut. */
  readonly within?: string;
}

export async function startNats(options: NatsOptions = {}): Promise<Server> {
  const program = findProgram("nats-server");
  if (!program) throw new Error("NATS is not installed: install the package nats-server.");
  const account = serverAccount("nats");
  const folder = serverFolder("nats", account, options.within);
  const config = join(folder, "nats.conf");
  writeFileSync(config, options.config ?? "", { flush: true });
  const store = ["--jetstream", "--store_dir", join(folder, "data")];
  return launch({
    ...COMMON,
    folder,
    account,
    disposeSignal: "SIGKILL",
    command: (port) => ({
      command: program,
      args: ["--addr", "127.0.0.1", "--port", `${port}`, ...store, "-c", config],
    }),
  });
}

/** The same server in a container, for a machine that has no NATS. */
export function startNatsContainer(): Promise<Server> {
  return startContainer({
    image: "docker.io/library/nats:2",
    port: 4222,
    environment: {},
    args: ["--jetstream", "--store_dir", "/data"],
    kind: COMMON,
  });
}

/** The first line of a NATS server says what it can do; a PING after it is answered, except by one that takes TLS alone. */
function ping(url: string): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).setEncoding("utf8").setTimeout(5_000);
  return new Promise<void>((resolve, reject) => {
    let received = "";
    socket.on("error", reject);
    socket.on("timeout", () => reject(new Error("NATS does not answer.")));
    socket.on("close", () => reject(new Error("NATS closed the connection.")));
    socket.on("connect", () => socket.write('CONNECT {"verbose":false}\r\nPING\r\n'));
    socket.on("data", (chunk) => {
      received += chunk;
      if (received.includes("PONG") || received.includes('"tls_required":true')) resolve();
    });
  }).finally(() => socket.destroy());
}
