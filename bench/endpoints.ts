/** What a pipeline is started between. */
export interface Endpoints {
  readonly source: Endpoint;
  readonly target: Endpoint;
  /** All of them, where there are more. */
  readonly targets?: readonly Endpoint[];
  /** Throws when what keeps the pair in step has ended: then nothing more will arrive. */
  assertRunning: () => void;
}

export interface Endpoint {
  readonly name: string;
  readonly url: string;
}
