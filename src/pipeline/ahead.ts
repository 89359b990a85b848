import type { Source } from "../core/source.ts";
import type { Target } from "../core/target.ts";
import type { Databases } from "./connect.ts";

interface Opening<T> {
  readonly opened: Promise<T>;
  /** Unless it is open. */
  readonly giveUp: () => void;
}

/**
 * Connections that are made while others are at work: where servers are far away a start spends most of its time in being
 * let in. Who opens here is told what is wrong when it asks, as by {@link Databases}, and of what nobody asks for nothing is told.
 */
export class Ahead implements AsyncDisposable {
  readonly #databases: Databases;
  readonly #targets = new Map<string, Opening<Target>>();
  readonly #sources = new Map<string, Opening<Source>>();

  constructor(databases: Databases) {
    this.#databases = databases;
  }

  /** To plan only. */
  beginTarget(name: string): void {
    const open = (signal: AbortSignal) => this.#databases.openTarget(name, null, signal);
    this.#begin(name, this.#targets, open);
  }

  beginSource(name: string): void {
    this.#begin(name, this.#sources, (signal) => this.#databases.openSource(name, signal));
  }

  /** Who takes it, closes it. */
  openTarget(name: string): Promise<Target> {
    return take(this.#targets, name) ?? this.#databases.openTarget(name, null);
  }

  openSource(name: string): Promise<Source> {
    return take(this.#sources, name) ?? this.#databases.openSource(name);
  }

  /** Ends what was not taken, also where it is not let in yet. */
  async [Symbol.asyncDispose](): Promise<void> {
    const left = [...this.#targets.values(), ...this.#sources.values()];
    await Promise.all(
      left.map(async ({ opened, giveUp }) => {
        giveUp();
        const [settled] = await Promise.allSettled([opened]);
        if (settled.status === "fulfilled") await settled.value.close();
      }),
    );
  }

  /** Not a file: to open it may be to make it. */
  #begin<T>(
    name: string,
    openings: Map<string, Opening<T>>,
    open: (signal: AbortSignal) => Promise<T>,
  ): void {
    if (openings.has(name) || !this.#databases.hasAddress(name)) return;
    const end = new AbortController();
    let isOpen = false;
    const opened = open(end.signal);
    opened.then(
      () => {
        isOpen = true;
      },
      // It is told to who asks.
      () => {},
    );
    const giveUp = () => {
      if (!isOpen) end.abort();
    };
    openings.set(name, { opened, giveUp });
  }
}

function take<T>(openings: Map<string, Opening<T>>, name: string): Promise<T> | undefined {
  const opening = openings.get(name);
  openings.delete(name);
  return opening?.opened;
}
