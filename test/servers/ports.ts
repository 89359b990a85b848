import getPort from "get-port";

const [FIRST, PORTS] = [12_000, 18_000];
/** Those who run tests beside each other: the workers, and the process that starts what they share. */
export const SHARES = 8;
const TRIES = 50;
const given = new Set<number>();

/**
 * A port below the range from which the kernel takes the ports of outgoing connections: otherwise,
 * while a killed server is down, a client that tries to reconnect may take its port, or even be
 * connected to itself. Nor is it one that another worker, or this one, gives to another server before this one
 * listens, or while it is down: who then finds that answer takes it for its own, as all have the same password.
 */
export async function choosePort(): Promise<number> {
  const share = Number(process.env.VITEST_POOL_ID ?? 0) % SHARES;
  const any = () => FIRST + share + SHARES * Math.floor((Math.random() * PORTS) / SHARES);
  const candidates = Array.from({ length: TRIES }, any).filter((port) => !given.has(port));
  const port = await getPort({ host: "127.0.0.1", port: candidates });
  given.add(port);
  return port;
}
