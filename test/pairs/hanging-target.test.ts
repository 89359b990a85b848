// A target whose server takes connections and answers none keeps a start waiting once (G8).
import { createServer, type Socket } from "node:net";
import { expect, test } from "vitest";
import { available } from "../servers/index.ts";
import { PATIENCE_MS, TestBed } from "../support/test-bed.ts";
import { createTables, insertRow, type TestTable } from "../support/test-tables.ts";

const TABLE: TestTable = { name: "t", columns: { id: "integer", note: "varchar" }, key: ["id"] };

test.skipIf(!available("postgres"))(
  "a start tries a target that hangs once, before it works on the others",
  async () => {
    await using bed = await TestBed.make({ source: "sqlite", target: "sqlite", far: "postgres" });
    const source = await bed.sql("source");
    await createTables(source, "sqlite", [TABLE]);
    const syncs = ["far", "target"].map((to) => ({ from: "source", to, tables: ["t"] }));
    const definition = bed.define(syncs);
    const first = await bed.start(definition);
    await first.waitFor({ timeoutMs: PATIENCE_MS });
    await bed.stop(first);

    await using hanging = await HangingServer.listen();
    const databases = definition.databases.map((each) =>
      each.name === "far" && "url" in each ? { ...each, url: hanging.insteadOf(each.url) } : each,
    );
    await insertRow(source, TABLE, { id: 1, note: "while it hangs" });
    const second = await bed.start({ ...definition, databases });
    // The second may be that of who looks for it from then on.
    expect(hanging.connections).toBeLessThanOrEqual(2);
    await second.waitFor({ sync: "source->target", timeoutMs: PATIENCE_MS });
  },
);

/** As one whose process is stopped: its kernel goes on taking connections. */
class HangingServer implements AsyncDisposable {
  readonly #sockets: Socket[] = [];
  readonly #server = createServer((socket) => this.#sockets.push(socket.on("error", () => {})));

  static async listen(): Promise<HangingServer> {
    const hanging = new HangingServer();
    await new Promise<void>((resolve) => hanging.#server.listen(0, "127.0.0.1", resolve));
    return hanging;
  }

  get connections(): number {
    return this.#sockets.length;
  }

  insteadOf(url: string): string {
    const address = this.#server.address();
    const there = new URL(url);
    there.port = String(typeof address === "object" ? address?.port : "");
    return there.href;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
