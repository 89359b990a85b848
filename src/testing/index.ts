export type {
  DatabaseBed,
  Dialect,
  SourceSample,
  SqlSession,
} from "./database-bed.ts";
export {
  type QueueBed,
  type QueueLossBed,
  type QueueServerBed,
  registerQueueLossSuite,
  registerQueueServerSuite,
  registerQueueSuite,
} from "./queue-conformance.ts";
export { registerSourceSuite } from "./source-conformance.ts";
export { registerTargetSuite } from "./target-conformance.ts";
export { VALUE_SAMPLES, type ValueSample } from "./values.ts";
