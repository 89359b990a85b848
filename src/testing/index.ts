export type {
  DatabaseBed,
  Dialect,
  SourceSample,
  SqlSession,
} from "./database-bed.ts";
export type { QueueBed, QueueLossBed, QueueServerBed } from "./queue-bed.ts";
export { registerQueueSuite } from "./queue-conformance.ts";
export { registerQueueLossSuite } from "./queue-loss-suite.ts";
export { registerQueueServerSuite } from "./queue-server-suite.ts";
export { registerSourceSuite } from "./source-conformance.ts";
export { registerTargetSuite } from "./target-conformance.ts";
export { VALUE_SAMPLES, type ValueSample } from "./values.ts";
