import { readFileSync } from "node:fs";

/** The package's version; package.json stands two folders up, in the sources and in what is built. */
export function version(): string {
  const file = new URL("../../package.json", import.meta.url);
  const { version } = JSON.parse(readFileSync(file, "utf8")) as { version: string };
  return version;
}
