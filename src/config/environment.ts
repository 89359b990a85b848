import { TidemarkError } from "../core/errors.ts";
import type { ConfigFile } from "./config-file.ts";
import { formatPath, type Path } from "./path.ts";

export type Environment = Readonly<Record<string, string | undefined>>;

const REFERENCE = /\$\$\{|\$\{([^}]*)\}/g;

/**
 * Replaces `${NAME}` and `${NAME:-default}` in every string of a config; `$${` stands for `${`
 * itself. Empty counts as missing, as in a shell's `:-`: an unset secret must not become an empty
 * password. Throws TM-CONFIG-ENV-MISSING.
 */
export function interpolate(file: ConfigFile, environment: Environment): unknown {
  return walk(file.value, []);

  function walk(value: unknown, path: Path): unknown {
    if (typeof value === "string") return replace(value, path);
    if (Array.isArray(value)) return value.map((each, index) => walk(each, [...path, index]));
    if (!isPlainObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, each]) => [key, walk(each, [...path, key])]),
    );
  }

  function replace(text: string, path: Path): string {
    return text.replace(REFERENCE, (match, body: string | undefined) => {
      if (body === undefined) return "${";
      const [, name, fallback] = /^([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?$/s.exec(body) ?? [];
      if (name === undefined) {
        throw new TidemarkError(
          "TM-CONFIG-INVALID",
          `${file.where(path)}: ${formatPath(path)} holds ${match}, which names no environment variable.`,
          { fix: `Write \${NAME} or \${NAME:-default}; a literal \${ is written $\${.` },
        );
      }
      const found = environment[name] || fallback;
      if (found !== undefined) return found;
      throw new TidemarkError(
        "TM-CONFIG-ENV-MISSING",
        `${file.where(path)}: ${formatPath(path)} needs the environment variable ${name}, which is not set.`,
        {
          fix: `export ${name}=…   (or give a default: \${${name}:-…})`,
          details: { variable: name, key: formatPath(path) },
        },
      );
    });
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
