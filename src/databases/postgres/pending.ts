import type { TidemarkError } from "../../core/errors.ts";
import type { Row } from "../../core/value.ts";
import type { WritableTable } from "./apply-sql.ts";
import type { Connection } from "./connection.ts";

/** So much is held back for one network write: behind it the target works while the rest is put together. */
const HELD_CHARACTERS = 16_000;

/**
 * An error outside of a transaction, and behind it nothing of the same network write is done. Where BEGIN was refused (a
 * cancellation meets any statement) each further write would otherwise be committed by itself.
 */
const ONLY_WITHIN = ["SAVEPOINT tidemark_within", "RELEASE SAVEPOINT tidemark_within"];

/** A statement that was sent and whose answer is not read yet. */
interface Pending {
  /** Its error, once answered. */
  readonly failure: Promise<TidemarkError | null>;
  readonly about: About;
}

/** The rows that a statement was to write, or that it looks whether the transaction may go on. */
export type About = Put | "standing" | null;

/** Rows that a statement was to write. */
export interface Put {
  readonly table: WritableTable;
  readonly rows: readonly Row[];
}

export interface Failure {
  readonly error: TidemarkError;
  readonly about: About;
}

/** What a transaction has sent and knows no answer to. Small statements leave in one network write. */
export class PendingStatements {
  readonly #connection: Connection;
  #pending: Pending[] = [];
  #characters = 0;
  #heldCharacters = 0;
  /** Lets go what is held back. */
  #release: (() => void) | null = null;
  /** Is it known that the server is in a transaction? */
  #isWithin = false;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Of values; those of {@link add} do not count. */
  get characters(): number {
    return this.#characters;
  }

  /** Holds back what follows, until much of it has come together or the answers are asked for. */
  hold(): void {
    this.#release ??= this.#connection.hold();
  }

  /** Adds what opens the transaction. */
  open(answer: Promise<unknown>): void {
    this.add(
      answer.then(() => {
        this.#isWithin = true;
      }),
    );
  }

  add(answer: Promise<unknown>, about: About = null): void {
    const failure = answer.then(
      () => null,
      (error: unknown) => error as TidemarkError,
    );
    this.#pending.push({ failure, about });
  }

  /** As {@link add}, of a statement with so many characters of values. */
  addLong(answer: Promise<unknown>, put: Put | null, characters: number): void {
    this.add(answer, put);
    this.#characters += characters;
    this.#heldCharacters += characters;
    if (this.#release === null || this.#heldCharacters < HELD_CHARACTERS) return;
    this.#letGo();
    this.hold();
    if (this.#isWithin) return;
    for (const text of ONLY_WITHIN) this.add(this.#connection.run(text, [], text));
  }

  /** Lets everything go; gives all that was added since the last time. */
  take(): readonly Pending[] {
    this.#letGo();
    const pending = this.#pending;
    this.#pending = [];
    this.#characters = 0;
    return pending;
  }

  #letGo(): void {
    this.#release?.();
    this.#release = null;
    this.#heldCharacters = 0;
  }
}

/** Waits for all answers; gives the first error. */
export async function firstFailure(pending: readonly Pending[]): Promise<Failure | null> {
  let first: Failure | null = null;
  for (const { failure, about } of pending) {
    const error = await failure;
    if (first === null && error !== null) first = { error, about };
  }
  return first;
}
