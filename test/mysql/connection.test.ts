// A connection ends when all of them are to end, also one that is only being made (G8).
import { describe, expect, it } from "vitest";
import { sleep } from "../../src/core/async.ts";
import { silentLogger } from "../../src/core/log.ts";
import { Session } from "../../src/databases/mysql/connection.ts";
import { mysql } from "../../src/databases/mysql/index.ts";
import { available, serverUrl } from "../servers/index.ts";
import { TcpProxy } from "../support/tcp-proxy.ts";
import { openBed } from "./bed.ts";

it("that cannot be made is told with the name that the config has for the database", async () => {
  const url = "mysql://sync@127.0.0.1:1/shop";
  const opening = mysql.openTarget({ name: "reports", url, logger: silentLogger });
  await expect(opening).rejects.toMatchObject({
    code: "TM-CONNECT-FAILED",
    message: expect.stringContaining("reports (127.0.0.1:1): the server cannot be reached"),
  });
});

describe.each(["mariadb", "mysql"] as const)("a connection to %s", (kind) => {
  it.skipIf(!available(kind))("that is not answered is given up when told", async () => {
    await using proxy = await TcpProxy.start(serverUrl(kind));
    proxy.stall();
    const end = new AbortController();
    const url = proxy.through(serverUrl(kind));
    const { signal } = end;
    const opening = mysql.openTarget({ name: "target", url, logger: silentLogger, signal });
    const failure = opening.catch((error: unknown) => error);
    while (proxy.connections === 0) await sleep(5);
    end.abort();
    // And not by its own patience (ETIMEDOUT).
    expect(await failure).toMatchObject({
      code: "TM-CONNECT-FAILED",
      message: expect.stringContaining("PROTOCOL_CONNECTION_LOST"),
    });
  });

  it.skipIf(!available(kind))("takes two ways to the server once it is let in", async () => {
    await using bed = await openBed(kind);
    const prefix = kind === "mariadb" ? "tx" : "transaction";
    await using proxy = await TcpProxy.start(bed.options.url);
    proxy.slow(3);
    const options = { ...bed.options, url: proxy.through(bed.options.url) };
    const session = await Session.open(options, { isolation: "READ COMMITTED" });
    // One is the password.
    expect(proxy.turns).toBeLessThan(4);
    const question = `SELECT @@SESSION.${prefix}_isolation, @@SESSION.${prefix}_read_only`;
    expect(await session.rows(question)).toEqual([["READ-COMMITTED", "0"]]);
    await session.close();
  });
});
