import type { DatabaseOptions } from "../../core/database.ts";
import { Session } from "./connection.ts";

/** More would be many for a server, or an account, that may have few: the application needs its own. */
const SESSIONS = 4;
/** Fewer are done before another session is open, where each takes a few ways to the server. */
const EACH = 3;

interface AbreastOptions extends DatabaseOptions {
  /** At least so many items for each session; default {@link EACH}. */
  readonly each?: number;
  /** What those opened besides wait for a table; by default as in givingWay. */
  readonly tableLockSeconds?: number;
  /** Do those take flights? */
  readonly flights?: boolean;
}

/** Runs a step in a session that no other step uses meanwhile. */
export type InSession = <T>(step: (session: Session) => Promise<T>) => Promise<T>;

/**
 * Works on all items at once, in a few sessions that take turns: the server takes one statement of a session at a time, and
 * where it is far away, most of that time goes into the way. Where the server gives none besides, `session` does all. Throws
 * the first failure once what was begun has ended; nothing is begun after it.
 */
export async function abreast<T>(
  session: Session,
  options: AbreastOptions,
  items: readonly T[],
  work: (item: T, use: InSession) => Promise<void>,
): Promise<void> {
  const turns = new Turns();
  turns.free(session);
  const besides = Math.min(SESSIONS, Math.ceil(items.length / (options.each ?? EACH))) - 1;
  const opening = Array.from({ length: besides }, () => openBesides(session, options, turns));
  const use: InSession = (step) => turns.use(step);
  const done = items.map((item) => work(item, use).catch((error) => turns.fail(error)));
  await Promise.all(done);
  await Promise.all(opening.map(async (opened) => (await opened)?.close()));
  turns.assertUnfailed();
}

async function openBesides(
  { flavour }: Session,
  options: AbreastOptions,
  turns: Turns,
): Promise<Session | null> {
  const { tableLockSeconds = flavour.leastTableWait, flights = false } = options;
  try {
    // Not READ COMMITTED, in which a server whose binary log is of statements refuses to write rows.
    const settings = { isolation: "REPEATABLE READ", tableLockSeconds, flights } as const;
    const session = await Session.open(options, settings);
    turns.free(session);
    return session;
  } catch (err) {
    options.logger.debug({ err }, "no further session: those that are open do its part");
    return null;
  }
}

class Turns {
  readonly #free: Session[] = [];
  readonly #waiting: ((session: Session) => void)[] = [];
  #failure: { readonly error: unknown } | null = null;

  free(session: Session): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free.push(session);
    else next(session);
  }

  async use<T>(step: (session: Session) => Promise<T>): Promise<T> {
    const session =
      this.#free.pop() ?? (await new Promise<Session>((resolve) => this.#waiting.push(resolve)));
    try {
      this.assertUnfailed();
      return await step(session);
    } finally {
      this.free(session);
    }
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  assertUnfailed(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }
}
