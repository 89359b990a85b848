import { afterAll, beforeAll, describe } from "vitest";
import {
  registerQueueLossSuite,
  registerQueueServerSuite,
  registerQueueSuite,
} from "../../src/testing/index.ts";
import { natsBed, natsServerBed } from "../queues/nats-bed.ts";
import { sqliteBed } from "../queues/sqlite-bed.ts";
import { available, canStart, natsUrl, type Server, startNats } from "../servers/index.ts";

registerQueueSuite("sqlite", async () => sqliteBed());
registerQueueLossSuite("sqlite", async () => sqliteBed());

describe.skipIf(!available("nats"))("on the shared NATS server", () => {
  registerQueueSuite("nats", async () => natsBed(natsUrl()));
  registerQueueLossSuite("nats", async () => natsBed(natsUrl()));
});

describe.skipIf(!canStart("nats"))("on a NATS server of our own", () => {
  let server: Server;
  beforeAll(async () => {
    server = await startNats();
  });
  afterAll(() => server[Symbol.asyncDispose]());
  registerQueueServerSuite("nats", async () => natsServerBed(server));
});
