const EXIT_CODES = { SIGINT: 130, SIGTERM: 143 } as const;

/** Ctrl-C and SIGTERM: the first asks for a clean end, the second ends at once. */
export class Interrupts {
  readonly #controller = new AbortController();
  #exitCode: number | null = null;
  readonly #listeners = (["SIGINT", "SIGTERM"] as const).map((signal) => {
    const listener = () => this.#receive(signal);
    process.on(signal, listener);
    return { signal, listener };
  });

  /** Aborted by the first signal. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** 130 or 143 once a signal has come, else null. */
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
    if (this.#exitCode !== null) process.exit(EXIT_CODES[signal]);
    this.#exitCode = EXIT_CODES[signal];
    this.#controller.abort();
  }
}
