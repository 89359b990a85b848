/** Runs works one after another: transactions that share a session, or steps that must not come between each other. */
export class Mutex {
  #tail: Promise<unknown> = Promise.resolve();

  run<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#tail.then(work);
    // The next one waits for this one's end, not for its success.
    this.#tail = result.catch(() => {});
    return result;
  }
}
