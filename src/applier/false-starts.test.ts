// Batches that were begun more than once in the stream (G2, G3).
import { expect, it } from "vitest";
import type { QueueMessage } from "../core/queue.ts";
import { FalseStarts } from "./false-starts.ts";

/** `4.1`: piece 1 of batch 4; `4+2.0`: of the chunk 2 behind it. */
function message(text: string): QueueMessage {
  const [place = "", piece] = text.split(".");
  const [batch, chunk = 0] = place.split("+").map(Number);
  const part = { piece: Number(piece), fragment: 0, fragments: 1, last: false, checksum: 0 };
  return {
    mark: { timeline: "t", batch: batch as number, chunk, ...part },
    body: Buffer.from(text),
  };
}

async function read(starts: FalseStarts, stream: string): Promise<string> {
  async function* messages() {
    for (const text of stream.split(" ")) yield message(text);
  }
  const left: string[] = [];
  for await (const { body } of starts.passBy(messages())) left.push(String(body));
  return left.join(" ");
}

it("leaves out the beginnings that are known, of each batch", async () => {
  const starts = new FalseStarts();
  const stream = "4.0 4.1 4.0 4.1 4.2 4+1.0 5.0 6.0 6.0 6.1 6.0 6.1 6.2";
  expect(await read(starts, stream)).toBe(stream);
  starts.note(4);
  expect(await read(starts, stream)).toBe("4.0 4.1 4.2 4+1.0 5.0 6.0 6.0 6.1 6.0 6.1 6.2");
  starts.note(6);
  starts.note(6);
  expect(await read(starts, stream)).toBe("4.0 4.1 4.2 4+1.0 5.0 6.0 6.1 6.2");
  starts.forget();
  expect(await read(starts, stream)).toBe(stream);
});
