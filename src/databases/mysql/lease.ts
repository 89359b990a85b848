import { sha256 } from "../../core/hash.ts";
import type { Logger } from "../../core/log.ts";
import { type Session, SILENT_SECONDS } from "./connection.ts";
import { Throttle } from "./throttle.ts";

/** Often enough for {@link SILENT_SECONDS}, with time for a process that is held up. */
const HEARTBEAT_MS = 3_000;
const ASKED_EVERY_MS = 500;

/**
 * A named lock that lives as long as the session: who loses the one loses the other. Such locks are known to the
 * whole server, so the database is part of the name; it is hashed because 64 characters is all a name may have.
 */
export class Lease {
  readonly #session: Session;
  readonly #heartbeat: NodeJS.Timeout;
  readonly #asked = new Throttle();

  /** Null while another session holds it. */
  static async take(
    session: Session,
    logger: Logger,
    ...name: readonly string[]
  ): Promise<Lease | null> {
    const key = keyOf(session, name);
    if ((await session.value("SELECT GET_LOCK(?, 0)", [key])) !== "1") return null;
    // The others are for whoever vanished in the middle of a statement.
    await session.run(
      `SET wait_timeout = ${SILENT_SECONDS}, net_read_timeout = ${SILENT_SECONDS}, net_write_timeout = ${SILENT_SECONDS}`,
    );
    return new Lease(session, logger);
  }

  static async isHeld(session: Session, ...name: readonly string[]): Promise<boolean> {
    return (await session.value("SELECT IS_USED_LOCK(?)", [keyOf(session, name)])) !== null;
  }

  private constructor(session: Session, logger: Logger) {
    this.#session = session;
    // A statement that meets a lost session tells it to whoever works in it.
    const lost = (error: unknown) => logger.debug({ err: error }, "the lease's session is gone");
    this.#heartbeat = setInterval(() => session.run("DO 1").catch(lost), HEARTBEAT_MS);
    this.#heartbeat.unref();
  }

  /** For what is done in other sessions. The server is asked now and then. Throws TM-CONNECTION-LOST. */
  assertHeld(): Promise<void> {
    return this.#asked.every(ASKED_EVERY_MS, async () => {
      await this.#session.run("DO 1");
    });
  }

  /** To be called before the session is closed, which gives the lease up. */
  stop(): void {
    clearInterval(this.#heartbeat);
  }
}

function keyOf({ database }: Session, name: readonly string[]): string {
  return `tidemark_${sha256(database, ...name).slice(0, 40)}`;
}
