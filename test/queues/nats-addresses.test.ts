// Several addresses of NATS in one URL: any of them will do, one too that was not there at the start.
import { expect, test } from "vitest";
import { nats } from "../../src/queues/nats/index.ts";
import { canStart } from "../servers/index.ts";
import { choosePort } from "../servers/ports.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { CollectingLogger, PATIENCE_MS } from "../support/test-bed.ts";
import { withConfiguredNats } from "./configured-nats.ts";

test.skipIf(!canStart("nats"))(
  "an address that was away when the first connection was made is tried later",
  async () => {
    await withConfiguredNats('jetstream: { store_dir: "$FOLDER" }', async (address) => {
      const server = `nats://${address}`;
      const nobody = `nats://127.0.0.1:${await choosePort()}`;
      await using first = await TcpProxy.start(nobody);
      await using second = await TcpProxy.start(server);
      const logger = new CollectingLogger();
      const url = `nats://127.0.0.1:${first.port},127.0.0.1:${second.port}`;
      const open = () => nats.open({ url, logger, maxStreamBytes: 1 << 20 });
      let queue = await open();
      // Which one is tried first is a matter of chance.
      while (first.accepted === 0) {
        await queue.close();
        queue = await open();
      }
      first.repoint(server);
      second.repoint(nobody);
      second.cut();
      const put = () => queue.documents.put("key", 1).then(() => "", String);
      await expect.poll(put, { timeout: PATIENCE_MS }).toBe("");
      expect(logger.text()).toMatch(/connection to NATS lost.*connected to NATS again/s);
      await queue.close();
    });
  },
);
