// The programs of examples/library run as they stand, on the package as it is built.
import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { expect, test } from "vitest";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const isBuilt = existsSync(new URL("../../dist/index.js", import.meta.url));

test.skipIf(!isBuilt && process.env.CI === undefined).each([
  [
    "pipeline",
    /^\[\{"id":1,"customer":"Ada","total":"11\.00"\}\]\nsource->target: \w+, batch \d+$/,
  ],
  ["function-target", /^\[\{"id":"1","customer":"Ada","total":"10\.50"\}\]$/],
  ["notices", /^source->target has batch 0, .*\nsource->target has batch 1, copied: true$/s],
  ["subscribe", /^insert orders 3 Edsger\ndelete orders 1 $/],
])("%s", async (name, says) => {
  const folder = await mkdtemp(join(tmpdir(), "tidemark-examples-"));
  try {
    const { stdout } = await execa(process.execPath, [`examples/library/${name}.ts`], {
      cwd: ROOT,
      env: { TMPDIR: folder, TMP: folder, TEMP: folder },
      stripFinalNewline: true,
      timeout: 50_000,
    });
    expect(stdout).toMatch(says);
    // All but the folder of locks, which the processes of an account share.
    const left = await readdir(folder);
    expect(left.filter((name) => !name.startsWith("tidemark-locks"))).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
