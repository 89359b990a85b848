import { expect, test } from "vitest";
import { Running, Workplace } from "./tidemark.ts";

interface Line {
  readonly target?: { readonly orders: number | null; readonly firstName: string | null };
  readonly notice?: { readonly position: { readonly batch: number } };
}

const ENDED = { exitCode: 130, stderr: "" };

test("demo: rows arrive live, a change from outside too; Ctrl-C ends it; again, it goes on", async () => {
  await using place = await Workplace.make();
  const first = new Running(place.start(["demo", "--json"]));
  await first.until<Line>(({ target }) => target?.firstName === "Ada Lovelace");
  await first.until<Line>(({ target }) => (target?.orders ?? 0) >= 800);
  place.sql(".tidemark/demo/shop.db", "UPDATE customers SET name = 'You' WHERE id = 1");
  await first.until<Line>(({ target }) => target?.firstName === "You");
  const { notice } = await first.until<Line>((line) => line.notice !== undefined);
  expect(await first.end("SIGINT")).toEqual(ENDED);

  const again = new Running(place.start(["demo", "--json"]));
  const before = notice?.position.batch ?? 0;
  await again.until<Line>((line) => (line.notice?.position.batch ?? 0) > before);
  expect(await again.end("SIGINT")).toEqual(ENDED);
});
