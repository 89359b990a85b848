import type { Socket } from "node:net";
import { PassThrough } from "node:stream";
import { describe, expect, test } from "vitest";
import { CopyOut } from "./copy-out.ts";

const ROWS = ["1\tone\n", "2\t\\N\n", `3\t${"long ".repeat(40)}\n`, "\n", "5\tß漢\n"];
const RESPONSE = message("H", Buffer.from([0, 0, 2, 0, 0, 0, 0]));
const NOTICE = message("N", Buffer.from("Sd and c are letters of its text\0\0"));
const END = Buffer.concat([
  message("c", Buffer.alloc(0)),
  message("C", Buffer.from("COPY 5\0")),
  message("Z", Buffer.from("T")),
]);

describe("CopyOut", () => {
  const whole = Buffer.concat([
    RESPONSE,
    ...ROWS.flatMap((row, i) => [message("d", Buffer.from(row)), ...(i === 2 ? [NOTICE] : [])]),
    END,
  ]);

  test.each(Array.from({ length: 64 }, (_, i) => i + 1))(
    "gives the rows and leaves the rest to the driver, in chunks of %i",
    async (size) => {
      const { copy, feed, left } = started();
      const rows = read(copy);
      for (let at = 0; at < whole.length; at += size) feed(whole.subarray(at, at + size));
      copy.handleReadyForQuery();
      expect(await rows).toBe(ROWS.join(""));
      expect(left()).toEqual(END);
    },
  );

  test("leaves an error to the driver, which tells it", async () => {
    const { copy, feed, left } = started();
    const rows = read(copy);
    const error = message("E", Buffer.from("SERROR\0C22012\0\0"));
    feed(Buffer.concat([RESPONSE, message("d", Buffer.from("1\n")), error]));
    expect(left()).toEqual(error);
    copy.handleError(new Error("division by zero"));
    await expect(rows).rejects.toThrow("division by zero");
  });

  test("reads no more than it can hold for a slow reader, and goes on", async () => {
    const { copy, feed, stream } = started();
    const row = `${"x".repeat(300_000)}\n`;
    for (let i = 0; i < 4; i++) feed(message("d", Buffer.from(row)));
    expect(stream.isPaused()).toBe(true);
    const rows = copy[Symbol.asyncIterator]();
    await rows.next();
    expect(stream.isPaused()).toBe(false);
    await rows.return(undefined);
  });
});

function started() {
  const stream = new PassThrough();
  const left: Buffer[] = [];
  stream.on("data", (bytes: Buffer) => left.push(bytes));
  const copy = new CopyOut("COPY t TO STDOUT");
  copy.submit({ stream: stream as unknown as Socket, query: () => {} });
  // As the socket gives them: each chunk is the reader's own.
  const feed = (bytes: Buffer) => void stream.emit("data", Buffer.from(bytes));
  return { copy, feed, stream, left: () => Buffer.concat(left) };
}

async function read(copy: CopyOut): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of copy) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

function message(code: string, body: Buffer): Buffer {
  const head = Buffer.alloc(5, code);
  head.writeUInt32BE(body.length + 4, 1);
  return Buffer.concat([head, body]);
}
