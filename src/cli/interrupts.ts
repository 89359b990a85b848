import { isatty } from "node:tty";

const EXIT_CODES = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;

/**
 * Ctrl-C, SIGTERM and the terminal that is closed: the first asks for a clean end, the second ends at once. Where nothing
 * of it is on a terminal SIGHUP means nothing to it, as for a daemon without a config to read again: Node forgets that
 * `nohup` had it ignored.
 */
export class Interrupts {
  readonly #controller = new AbortController();
  readonly #isOnTerminal = [0, 1, 2].some((stream) => isatty(stream));
  #exitCode: number | null = null;
  readonly #listeners = (["SIGHUP", "SIGINT", "SIGTERM"] as const).map((signal) => {
    const listener = () => this.#receive(signal);
    process.on(signal, listener);
    return { signal, listener };
  });

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 129, 130 or 143 once a signal has come, else null. */
  get exitCode(): number | null {
    return this.#exitCode;
  }

  /** Resolves with the first signal. */
  readonly requested: Promise<void> = new Promise((resolve) => {
    this.#controller.signal.addEventListener("abort", () => resolve(), { once: true });
  });

  release(): void {
    for (const { signal, listener } of this.#listeners) process.off(signal, listener);
  }

  #receive(signal: keyof typeof EXIT_CODES): void {
    // The shell of a terminal that is closed sends one, and the system another: nobody is in more of a hurry for it.
    if (signal === "SIGHUP" && (!this.#isOnTerminal || this.#exitCode !== null)) return;
    if (this.#exitCode !== null) process.exit(EXIT_CODES[signal]);
    this.#exitCode = EXIT_CODES[signal];
    this.#controller.abort();
  }
}
