import type { Config } from "./schema.ts";

/** Gives a `tidemark.config.ts` its types; returns what it is given. */
export function defineConfig(config: Config): Config {
  return config;
}
