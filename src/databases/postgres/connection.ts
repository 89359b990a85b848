import type { Readable, Writable } from "node:stream";
import { finished } from "node:stream/promises";
import { assertOnly } from "../../core/address-watch.ts";
import type { DatabaseOptions } from "../../core/database.ts";
import { loadDriver } from "../../core/driver.ts";
import type { Encryption } from "../../core/encryption.ts";
import { TidemarkError } from "../../core/errors.ts";
import type { LinesBlock, LinesRoom } from "../../core/source.ts";
import { clientOf, connectError, type PgClient, probe } from "./client.ts";
import { classify, sqlState } from "./errors.ts";
import { type Flight, flightClass, Prepared, type StatementResult } from "./flight.ts";
import { identityOf } from "./identity.ts";
import { lineBlocks } from "./line-blocks.ts";
import { behindPooler } from "./pooler.ts";
import { rowBlocks } from "./row-blocks.ts";
import { configuring } from "./session-settings.ts";
import { encryptionOf } from "./transport.ts";

/** Values travel as text in both directions, so that no number or date is ever rounded by JavaScript. */
export type Row = (string | null)[];
export type Parameter = string | null;

const MIN_VERSION = 130_000;
/** Of a pooler that greets without a number. */
const NO_PROCESS = 0;

/** One session. Everything thrown is a TidemarkError. Queries given while others run are pipelined. */
export class Connection {
  readonly database: string;
  /** server_version_num: 150020. */
  readonly version: number;
  /** Is it a session of a pooler, which keeps one of the server for it? */
  readonly pooled: boolean;
  readonly encryption: Encryption;
  readonly #client: PgClient;
  readonly #flight: new (
    prepared: Prepared,
  ) => Flight;
  readonly #prepared = new Prepared();
  /** What is held back: see hold(). */
  #held: Flight | null = null;
  readonly #role: string;
  #lost: TidemarkError | null = null;
  #closed = false;
  readonly #onLost: ((error: TidemarkError) => void)[] = [];

  private constructor(
    client: PgClient,
    options: {
      database: string;
      role: string;
      version: number;
      pooled: boolean;
      flight: new (prepared: Prepared) => Flight;
    },
  ) {
    this.#client = client;
    this.#flight = options.flight;
    this.database = options.database;
    this.#role = options.role;
    this.version = options.version;
    this.pooled = options.pooled;
    this.encryption = encryptionOf(client.host, client.ssl);
    client.on("error", (error) => this.#lose(error));
    client.on("end", () => this.#lose(new Error("Connection terminated")));
  }

  /** Throws TM-CONNECT-FAILED, TM-AUTH-FAILED, TM-DRIVER-MISSING, TM-SERVER-UNSUPPORTED. */
  static async open(options: DatabaseOptions, role: string): Promise<Connection> {
    const { default: pg } = await loadDriver("pg", () => import("pg"));
    const { client, end } = clientOf(pg, options, role);
    try {
      await client.connect();
      // Both leave at once. Where a pooler stands between, neither has counted.
      const greeting = configure(client, client.processID ?? NO_PROCESS);
      const identified = identify(client, options);
      identified.catch(() => {});
      const { pid, version } = await greeting;
      let pooled = false;
      if (pid !== String(client.processID)) {
        const openOther = () => probe(pg, options);
        pooled = await behindPooler(client, openOther, options.name);
        await configure(client, null);
      }
      if (version < MIN_VERSION) {
        throw new TidemarkError(
          "TM-SERVER-UNSUPPORTED",
          `Database "${options.name}" runs PostgreSQL ${Math.floor(version / 10_000)}; Tidemark needs 13 or later.`,
        );
      }
      const flight = flightClass(pg.Query);
      const facts = { database: options.name, role, version, pooled, flight };
      await (pooled ? identify(client, options) : identified);
      return new Connection(client, facts);
    } catch (error) {
      await end();
      throw connectError(error, options);
    }
  }

  get lost(): boolean {
    return this.#lost !== null;
  }

  /** Called once when the session ends other than by close(). */
  onLost(listener: (error: TidemarkError) => void): void {
    this.#onLost.push(listener);
  }

  onNotification(listener: () => void): void {
    this.#client.on("notification", listener);
  }

  /** One statement with bound values; `name` makes it a prepared one. Gives its rows. */
  async rows(text: string, values: readonly Parameter[] = [], name?: string): Promise<Row[]> {
    const result = await this.#statement(text, values, name);
    return result.rows;
  }

  /** As rows(); gives the number of rows concerned. */
  async run(text: string, values: readonly Parameter[] = [], name?: string): Promise<number> {
    const result = await this.#statement(text, values, name);
    return result.rowCount;
  }

  /** Statements without values, as one message; they share an implicit transaction. */
  async script(text: string): Promise<void> {
    this.#assertUsable();
    this.#letGo();
    try {
      await this.#client.query({ text, rowMode: "array" });
    } catch (error) {
      throw this.#wrap(error);
    }
  }

  /** COMMIT, or the error that the server rolled back instead (it does so without saying). */
  async commit(): Promise<void> {
    const result = await this.#statement("COMMIT", [], "COMMIT");
    if (result.command === "ROLLBACK") {
      throw new TidemarkError("TM-APPLY-RETRY", "The transaction was rolled back by the server.");
    }
  }

  /** Queries started within `start` leave in one network write. */
  together<T>(start: () => T): T {
    const { stream } = this.#client.connection;
    stream.cork();
    try {
      return start();
    } finally {
      stream.uncork();
    }
  }

  /**
   * What is started until the function given back is called leaves in one network write. Only within
   * a transaction, or with the BEGIN that opens it: statements are one flight.
   */
  hold(): () => void {
    const { stream } = this.#client.connection;
    stream.cork();
    this.#held = new this.#flight(this.#prepared);
    return () => {
      this.#letGo();
      this.#held = null;
      stream.uncork();
    };
  }

  /** Runs `work` between BEGIN and COMMIT; rolls back when it throws. */
  async transaction<T>(begin: string, work: () => Promise<T>): Promise<T> {
    await this.script(begin);
    try {
      const result = await work();
      await this.commit();
      return result;
    } catch (error) {
      if (!this.lost) await this.script("ROLLBACK").catch(() => {});
      throw error;
    }
  }

  /** COPY … FROM STDIN; no other query may be under way on this session. */
  async copyIn(text: string, write: (stream: Writable) => Promise<void>): Promise<void> {
    const streams = await loadDriver("pg-copy-streams", () => import("pg-copy-streams"));
    await this.#exclusively(async () => {
      const stream = this.#client.query(streams.from(text));
      const done = finished(stream);
      // Observed now, so that an error while rows are still being written is not an unhandled one.
      done.catch(() => {});
      await write(stream).catch(async (error: unknown) => {
        stream.destroy();
        await done.catch((first: unknown) => {
          throw sqlState(first) === "" ? error : first;
        });
        throw error;
      });
      stream.end();
      await done;
    });
  }

  /**
   * The rows of a query by COPY, in blocks of whole lines or, in binary, of whole rows; as many as the server says. When the reader
   * leaves before the end the session is closed: the rest would still have to be read.
   */
  async *copyOut(select: string, room: LinesRoom, binary = false): AsyncGenerator<LinesBlock> {
    const streams = await loadDriver("pg-copy-streams", () => import("pg-copy-streams"));
    this.#assertUsable();
    this.#client.pipeline = false;
    const text = `COPY (${select}) TO STDOUT (FORMAT ${binary ? "binary" : "text"})`;
    const rows: Readable & { rowCount: number | null } = this.#client.query(streams.to(text));
    let complete = false;
    let given = 0;
    try {
      for await (const block of binary ? rowBlocks(rows, room) : lineBlocks(rows, room)) {
        given += block.rows;
        yield block;
      }
      // The server's own count comes behind the rows: with the answer to whatever follows it is here.
      await this.#client.query({ text: "", rowMode: "array" });
      if (given !== rows.rowCount) throw miscounted(given, rows.rowCount);
      complete = true;
    } catch (error) {
      throw this.#wrap(error);
    } finally {
      if (complete) this.#client.pipeline = true;
      else this.destroy();
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#lost) return;
    await this.#client.end().catch(() => {});
  }

  /** Ends the session at once, whatever it does. */
  destroy(): void {
    this.#closed = true;
    this.#client.connection.stream.destroy();
  }

  async #statement(
    text: string,
    values: readonly Parameter[],
    name: string | undefined,
  ): Promise<StatementResult> {
    this.#assertUsable();
    try {
      const flight = this.#held ?? new this.#flight(this.#prepared);
      const answer = flight.add({ text, values, name });
      if (this.#held === null) void this.#client.query(flight);
      return await answer;
    } catch (error) {
      throw this.#wrap(error);
    }
  }

  /** Sends what is held back; what follows is held back in turn. */
  #letGo(): void {
    if (this.#held === null || this.#held.empty) return;
    this.#client.query(this.#held);
    this.#held = new this.#flight(this.#prepared);
  }

  async #exclusively(work: () => Promise<void>): Promise<void> {
    this.#assertUsable();
    // The driver pipelines only its own queries; a COPY needs the connection for itself.
    this.#client.pipeline = false;
    try {
      await work();
    } catch (error) {
      throw this.#wrap(error);
    } finally {
      this.#client.pipeline = true;
    }
  }

  #assertUsable(): void {
    if (this.#lost) throw this.#lost;
    if (this.#closed) {
      throw new TidemarkError(
        "TM-CONNECTION-LOST",
        `The session with database "${this.database}" is closed.`,
      );
    }
  }

  #wrap(error: unknown): TidemarkError {
    if (this.#lost) return this.#lost;
    return classify(error, { action: `work as ${this.#role}`, database: this.database });
  }

  #lose(error: unknown): void {
    if (this.#lost || this.#closed) return;
    const cause = sqlState(error) === "" ? new Error("Connection terminated") : error;
    this.#lost = classify(cause, { action: "keep the session", database: this.database });
    if (this.#lost.code !== "TM-CONNECTION-LOST") {
      this.#lost = new TidemarkError(
        "TM-CONNECTION-LOST",
        `The connection to database "${this.database}" was lost.`,
        { cause: error },
      );
    }
    for (const listener of this.#onLost) listener(this.#lost);
  }
}

/** Never seen; but a row that is lost here would be lost in silence. */
function miscounted(given: number, counted: number | null): TidemarkError {
  return new TidemarkError(
    "TM-INTERNAL",
    `The server sent ${counted} rows, of which ${given} arrived.`,
  );
}

/** Sets what every session of ours has; with `only`, in this process of the server alone. */
async function configure(
  client: PgClient,
  only: number | null,
): Promise<{ readonly pid: string; readonly version: number }> {
  const { rows } = await client.query({ text: configuring(only), rowMode: "array" });
  const [pid, version] = rows[0] ?? [];
  return { pid: pid ?? "", version: Number(version ?? 0) };
}

/** Throws TM-CONNECTION-LOST where there is one database to work with, and this is another. */
function identify(client: PgClient, options: DatabaseOptions): Promise<void> {
  const rows = async (text: string): Promise<Row[]> => {
    try {
      return (await client.query({ text, rowMode: "array" })).rows;
    } catch (error) {
      const cause = sqlState(error) === "" ? new Error("Connection terminated") : error;
      throw classify(cause, { action: "tell the server", database: options.name });
    }
  };
  return assertOnly(options, () => identityOf({ rows }));
}
