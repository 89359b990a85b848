// `npm run build`: src -> dist. With --if-needed, only when a source is newer than the last build.
import { build, buildIfNeeded } from "./lib/build.mjs";
import { orExplain } from "./lib/explain.mjs";

await orExplain(process.argv.includes("--if-needed") ? buildIfNeeded : build);
