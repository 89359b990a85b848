import { basename } from "node:path";
import { z } from "zod";
import type { PipelineDefinition } from "../core/definition.ts";
import {
  type ConfigFile,
  findConfig,
  type Library,
  parseConfig,
  readConfig,
} from "./config-file.ts";
import { type Environment, interpolate } from "./environment.ts";
import { normalise } from "./normalise.ts";
import { aFunction, aText, checkOptions } from "./options.ts";
import { checkTopology } from "./topology.ts";
import { validate } from "./validate.ts";

export interface LoadOptions {
  /** Where to look, and what `file` is relative to. Default: the working directory. */
  readonly folder?: string;
  /** The config file; without it the one in `folder`. */
  readonly file?: string;
  readonly environment?: Environment;
  /** What `import … from "tidemark"` gives inside a .ts or .js config. */
  readonly library?: Library;
}

export interface LoadedConfig {
  /** Absolute path of the file. */
  readonly file: string;
  readonly definition: PipelineDefinition;
}

const loadOptions = z.strictObject({
  folder: aText.optional(),
  file: aText.optional(),
  environment: z.looseObject({}, "must be an object of texts").optional(),
  library: aFunction.optional(),
});

/**
 * Finds, reads and checks a config; connects to nothing. Throws TM-CONFIG-NOT-FOUND,
 * TM-CONFIG-INVALID, TM-CONFIG-ENV-MISSING, TM-CONFIG-OVERLAP, TM-CONFIG-LOOP.
 */
export async function loadConfig(options: LoadOptions = {}): Promise<LoadedConfig> {
  checkOptions("loadConfig", options, loadOptions);
  const path = findConfig(options.folder ?? process.cwd(), options.file);
  const file = await readConfig(path, options.library);
  return { file: path, definition: define(file, options.environment ?? process.env) };
}

/** As `loadConfig`, for a YAML or JSON text that need not be saved; `path` says what it is relative to. */
export function loadConfigText(
  path: string,
  text: string,
  environment: Environment = process.env,
): PipelineDefinition {
  return define(parseConfig(path, text), environment);
}

function define(file: ConfigFile, environment: Environment): PipelineDefinition {
  const definition = normalise(file, validate(file, interpolate(file, environment)));
  checkTopology(definition, basename(file.path));
  return definition;
}
