import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
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

test("demo: a folder that cannot be made or written, or that is somebody's, is told at once", async () => {
  await using place = await Workplace.make();
  const refused = async (folder: string) => {
    const { exitCode, envelope } = await place.json(["demo", "--folder", folder]);
    expect([exitCode, envelope.error?.code]).toEqual([2, "TM-USAGE"]);
    return envelope.error?.message;
  };
  // A file stands in the way of a folder, and a folder in the way of a file.
  place.sql("file", "CREATE TABLE t (id INTEGER)");
  const file = place.path("file");
  expect(await refused("file")).toBe(
    `The demo cannot have its files in ${file}: EEXIST: file already exists, mkdir '${file}'`,
  );
  await mkdir(place.path("full/tidemark.yaml"), { recursive: true });
  expect(await refused("full")).toContain(
    `The demo cannot have its files in ${place.path("full")}`,
  );
  if (process.platform === "linux") expect(await refused("/proc/x")).toContain("mkdir '/proc/x'");

  await writeFile(place.path("tidemark.yaml"), "databases: {}");
  expect(await refused(".")).toBe(
    `${place.path("tidemark.yaml")} is there already, and is not the demo's.`,
  );
  expect(existsSync(place.path("shop.db"))).toBe(false);

  // Its program would delete their orders, and its copy write over them.
  for (const [folder, name] of [
    ["source", "shop.db"],
    ["target", "copy.db"],
  ]) {
    await mkdir(place.path(`${folder}`));
    const file = `${folder}/${name}`;
    place.sql(file, "CREATE TABLE orders (id INTEGER PRIMARY KEY)");
    expect(await refused(`${folder}`)).toBe(
      `${place.path(file)} is there already, and is not the demo's.`,
    );
    expect(place.sql(file, "SELECT name FROM sqlite_schema")).toEqual([{ name: "orders" }]);
    expect(existsSync(place.path(`${folder}/tidemark.yaml`))).toBe(false);
  }
});
