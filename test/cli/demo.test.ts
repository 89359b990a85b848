import { expect, test } from "vitest";
import { linesOf, Workplace } from "./tidemark.ts";

interface Line {
  readonly event?: "status" | "notice";
  readonly target?: { readonly orders: number | null; readonly firstName: string | null };
  readonly notice?: { readonly position: { readonly batch: number } };
}

test("demo: rows arrive live, a change from outside too; Ctrl-C ends it; again, it goes on", async () => {
  await using place = await Workplace.make();
  const first = await watchDemo(place, (line) => (line.target?.orders ?? 0) >= 800, {
    meanwhile: (line) => {
      if (line.target?.firstName !== "Ada Lovelace") return;
      place.sql(".tidemark/demo/shop.db", "UPDATE customers SET name = 'You' WHERE id = 1");
    },
    until: (line) => line.target?.firstName === "You",
  });
  const second = await watchDemo(place, (line) => line.notice !== undefined);
  expect(second.lastBatch).toBeGreaterThan(first.lastBatch);
});

/** Runs the demo until the lines have shown all that is wanted, then ends it as Ctrl-C does. */
async function watchDemo(
  place: Workplace,
  wanted: (line: Line) => boolean,
  more: { meanwhile?: (line: Line) => void; until?: (line: Line) => boolean } = {},
): Promise<{ lastBatch: number }> {
  const demo = place.start(["demo", "--json"]);
  let lastBatch = 0;
  let seen = false;
  let complete = more.until === undefined;
  let stopping = false;
  for await (const text of linesOf(demo)) {
    const line = JSON.parse(text) as Line;
    lastBatch = line.notice?.position.batch ?? lastBatch;
    seen ||= wanted(line);
    complete ||= more.until?.(line) ?? true;
    more.meanwhile?.(line);
    if (seen && complete && lastBatch > 0 && !stopping) {
      stopping = true;
      demo.kill("SIGINT");
    }
  }
  const { exitCode, stderr } = await demo;
  expect({ exitCode, stderr }).toEqual({ exitCode: 130, stderr: "" });
  return { lastBatch };
}
