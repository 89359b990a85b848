import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { armFailpoint, FAILPOINTS, failpoint } from "./failpoint.ts";

test("one that is armed acts when it is reached so many times, and no other does", () => {
  const reached: string[] = [];
  failpoint("committed");
  armFailpoint("committed:kill@2", () => reached.push("committed"));
  failpoint("purged");
  failpoint("committed");
  expect(reached).toEqual([]);
  failpoint("committed");
  failpoint("committed");
  expect(reached).toEqual(["committed"]);
});

test.each(["comitted:kill", "committed", "committed:kill@0", "toString:kill", ""])(
  "%j is refused with the names of those that there are",
  (spec) => {
    expect(() => armFailpoint(spec, () => {})).toThrow(
      expect.objectContaining({ code: "TM-USAGE", fix: expect.stringContaining("notice-told") }),
    );
  },
);

test("each is described for whoever uses it", () => {
  const page = readFileSync(new URL("../../docs/reference/checker.md", import.meta.url), "utf8");
  for (const name of Object.keys(FAILPOINTS)) expect(page).toContain(`\`${name}\``);
});
