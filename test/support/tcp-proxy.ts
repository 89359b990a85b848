// A network that fails, between a process and a server: a TCP proxy. Written here since none can be had from npm
// or Debian, and the kernel's own way to delay and drop needs root, and a module that many kernels lack.
import {
  type AddressInfo,
  createServer,
  connect as dial,
  type Server,
  type Socket,
} from "node:net";
import { sleep } from "../../src/core/async.ts";

/** So long a connection of which the answer was lost stays silent before it ends. */
const SILENT_MS = 150;

export class TcpProxy implements AsyncDisposable {
  #target: URL;
  readonly #server: Server;
  readonly #links = new Set<Link>();
  /** What is under way passes when it resolves. */
  #gate: PromiseWithResolvers<void> | null = null;
  #delayMs = 0;
  #bytesInMs = Number.POSITIVE_INFINITY;
  #accepted = 0;
  #turns = 0;
  #bytesOut = 0;
  #marker: { readonly text: string; readonly found: () => void } | null = null;

  static async start(url: string): Promise<TcpProxy> {
    const proxy = new TcpProxy(new URL(url));
    await new Promise<void>((resolve) => proxy.#server.listen(0, "127.0.0.1", resolve));
    return proxy;
  }

  private constructor(target: URL) {
    this.#target = target;
    // A half that is closed says nothing about the other one.
    this.#server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
  }

  /** `url`, which names something at the server, by way of here. */
  through(url: string): string {
    const here = new URL(url);
    here.hostname = "127.0.0.1";
    here.port = String(this.port);
    return here.href;
  }

  /** Where it listens. */
  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  get connections(): number {
    return this.#links.size;
  }

  /** How many connections there have been, those that have ended among them. */
  get accepted(): number {
    return this.#accepted;
  }

  /** How often a process has spoken after its server had: each is a way there and back that it has waited for. */
  get turns(): number {
    return this.#turns;
  }

  /** How many bytes servers have sent. */
  get bytesOut(): number {
    return this.#bytesOut;
  }

  /** From now on new connections lead to this server; those that are established stay with the one before. */
  repoint(url: string): void {
    this.#target = new URL(url);
  }

  /** Ends every connection at both ends at once. Like all that follows it gives the number concerned. */
  cut(): number {
    return this.#each((link) => link.destroy());
  }

  /** The process sees its connections end; the server keeps its ends, with all they hold, for `ms` more. */
  abandon(ms: number): number {
    return this.#each((link) => {
      link.client.resetAndDestroy();
      link.isMute = true;
      setTimeout(() => link.destroy(), ms).unref();
    });
  }

  /** The server's half of each connection ends, as when it shuts down; what the process sends still arrives. */
  halfClose(): number {
    return this.#each((link) => {
      link.isMute = true;
      link.client.end();
    });
  }

  /** Nothing passes any more, in either direction, and no one is told; new connections are not answered. */
  stall(): number {
    this.#gate ??= Promise.withResolvers();
    return this.#links.size;
  }

  /** From now on each piece of data takes so long in passing. */
  slow(ms: number): number {
    this.#delayMs = ms;
    return this.#links.size;
  }

  /** From now on no more than so many bytes a second pass, of each connection in each direction. */
  narrow(bytesInSecond: number): number {
    this.#bytesInMs = bytesInSecond / 1_000;
    return this.#links.size;
  }

  /** Ends stall, slow and narrow: what was held back arrives. */
  heal(): void {
    this.#delayMs = 0;
    this.#bytesInMs = Number.POSITIVE_INFINITY;
    this.#gate?.resolve();
    this.#gate = null;
  }

  /**
   * The next time that a process sends `marker` (as `COMMIT` stands in the wire of PostgreSQL and MySQL), it
   * reaches the server, and its answer is lost with the connection. Resolves when that has happened.
   */
  loseAnswerTo(marker: string): Promise<void> {
    return new Promise((found) => {
      this.#marker = { text: marker, found };
    });
  }

  /** Takes {@link loseAnswerTo} back, where the marker has not been sent yet. */
  loseNoAnswer(): void {
    this.#marker = null;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.heal();
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #each(fault: (link: Link) => void): number {
    const links = [...this.#links].filter(({ isMute }) => !isMute);
    for (const link of links) fault(link);
    return links.length;
  }

  #accept(client: Socket): void {
    this.#accepted++;
    const { hostname, port } = this.#target;
    const server = dial({ host: hostname, port: Number(port), allowHalfOpen: true });
    const link = new Link(client, server);
    this.#links.add(link);
    for (const socket of [client, server]) {
      socket.setNoDelay(true);
      socket.on("error", () => {});
      socket.on("close", () => {
        if (socket === server || !link.isMute) link.destroy();
        this.#links.delete(link);
      });
    }
    this.#carry(client, server, (chunk) => {
      if (link.isAnswered) this.#turns++;
      link.isAnswered = false;
      return this.#look(link, chunk);
    });
    this.#carry(server, client, (chunk) => {
      link.isAnswered = true;
      this.#bytesOut += chunk.length;
      return !link.isMute;
    });
  }

  /** `passes`: asked before each piece of data. */
  #carry(from: Socket, to: Socket, passes: (chunk: Buffer) => boolean): void {
    let under = Promise.resolve();
    /** When what has passed would have arrived. */
    let arrivedAt = 0;
    from.on("data", (chunk: Buffer) => {
      from.pause();
      arrivedAt = Math.max(arrivedAt, performance.now()) + chunk.length / this.#bytesInMs;
      under = this.#wait(arrivedAt).then(() => {
        if (!passes(chunk) || to.write(chunk)) from.resume();
        else to.once("drain", () => from.resume());
      });
    });
    from.on("end", () => void under.then(() => to.end()));
  }

  async #wait(until: number): Promise<void> {
    if (this.#delayMs > 0) await sleep(this.#delayMs);
    const early = until - performance.now();
    if (early > 1) await sleep(early);
    while (this.#gate !== null) await this.#gate.promise;
  }

  #look(link: Link, chunk: Buffer): boolean {
    const marker = this.#marker;
    if (marker === null) return true;
    // It may fall between two pieces.
    const seen = Buffer.concat([link.before, chunk]);
    link.before = seen.subarray(Math.max(0, seen.length - marker.text.length + 1));
    if (!seen.includes(marker.text)) return true;
    this.#marker = null;
    link.isMute = true;
    setTimeout(() => link.destroy(), SILENT_MS).unref();
    marker.found();
    return true;
  }
}

class Link {
  readonly client: Socket;
  readonly server: Socket;
  /** Nothing from the server reaches the process any more. */
  isMute = false;
  /** Has the server spoken since the process last did? */
  isAnswered = false;
  before = Buffer.alloc(0);

  constructor(client: Socket, server: Socket) {
    this.client = client;
    this.server = server;
  }

  destroy(): void {
    this.client.destroy();
    this.server.destroy();
  }
}
