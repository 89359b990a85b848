/** How far an attempt of a transaction is. */
export class Attempt {
  readonly #sent = Promise.withResolvers<void>();
  readonly #ended = Promise.withResolvers<void>();

  /** All of its statements are on their way, or none is going to be. */
  get sent(): Promise<void> {
    return this.#sent.promise;
  }

  get ended(): Promise<void> {
    return this.#ended.promise;
  }

  markSent(): void {
    this.#sent.resolve();
  }

  end(): void {
    this.#sent.resolve();
    this.#ended.resolve();
  }
}
