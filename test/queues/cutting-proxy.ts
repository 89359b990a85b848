// A TCP proxy in front of a server: what it has received from the server when it cuts a connection is lost.

import type { AddressInfo } from "node:net";
import { createServer, connect as dial, type Server, type Socket } from "node:net";

export interface CuttingProxy extends AsyncDisposable {
  readonly address: string;
  /** How many connections it has cut. */
  readonly cuts: number;
}

/** Cuts each connection after `bytes` from the server, in the middle of whatever comes then. */
export async function startCuttingProxy(target: URL, bytes: number): Promise<CuttingProxy> {
  let cuts = 0;
  const open = new Set<Socket>();
  const server: Server = createServer((client) => {
    const upstream = dial(Number(target.port), target.hostname);
    let left = bytes;
    for (const socket of [client, upstream]) {
      open.add(socket);
      socket.on("error", () => {}); // a cut connection
      socket.on("close", () => {
        open.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.pipe(upstream);
    upstream.on("data", (chunk: Buffer) => {
      client.write(chunk.subarray(0, left));
      left -= chunk.length;
      if (left > 0) return;
      cuts++;
      client.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    address: `127.0.0.1:${port}`,
    get cuts() {
      return cuts;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
