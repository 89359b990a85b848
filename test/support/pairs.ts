// The pairs that whole-pipeline tests run over.
import { type DatabaseKind, available as isAvailable } from "../servers/index.ts";
import type { QueueKind } from "./test-bed.ts";

export interface TestPair {
  readonly source: DatabaseKind;
  readonly target: DatabaseKind;
  readonly queue: QueueKind;
}

const KINDS: readonly DatabaseKind[] = ["sqlite", "postgres", "mariadb"];

/** The nine pairs on the embedded queue. */
export const NINE_PAIRS: readonly TestPair[] = KINDS.flatMap((source) =>
  KINDS.map((target): TestPair => ({ source, target, queue: "embedded" })),
);

const WITH_MYSQL: readonly TestPair[] = [
  { source: "mysql", target: "postgres", queue: "embedded" },
  { source: "postgres", target: "mysql", queue: "embedded" },
];

/** The nine, and MySQL on each side, where it may differ from MariaDB. */
export const ELEVEN_PAIRS: readonly TestPair[] = [...NINE_PAIRS, ...WITH_MYSQL];

/** Each kind once as a source and once as a target: where what is tested does not differ by the pair. */
export const FOUR_PAIRS: readonly TestPair[] = [
  { source: "sqlite", target: "postgres", queue: "embedded" },
  { source: "postgres", target: "mariadb", queue: "embedded" },
  { source: "mariadb", target: "sqlite", queue: "embedded" },
  { source: "mysql", target: "mysql", queue: "embedded" },
];

/** The nine; the newest and the oldest PostgreSQL and MySQL on each side; NATS below each kind of source and target. */
export const ALL_PAIRS: readonly TestPair[] = [
  ...ELEVEN_PAIRS,
  { source: "postgres-newest", target: "postgres", queue: "embedded" },
  { source: "postgres-oldest", target: "postgres-newest", queue: "nats" },
  { source: "mysql", target: "mysql", queue: "nats" },
  { source: "postgres", target: "mariadb", queue: "nats" },
  { source: "mariadb", target: "sqlite", queue: "nats" },
  { source: "sqlite", target: "postgres", queue: "nats" },
];

/** Can this pair be run here? What is skipped is named by the reporter of missing servers. */
export function available({ source, target, queue }: TestPair): boolean {
  return (
    isAvailable(source) && isAvailable(target) && (queue === "embedded" || isAvailable("nats"))
  );
}

export function title({ source, target, queue }: TestPair): string {
  return `${source} to ${target}${queue === "embedded" ? "" : ` over ${queue}`}`;
}
