/** A place in a config: `["syncs", 0, "tables"]`. */
export type Path = readonly PropertyKey[];

/** `syncs[0].tables`; `(top)` for the whole. */
export function formatPath(path: Path): string {
  const text = path
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`))
    .join("")
    .replace(/^\./, "");
  return text === "" ? "(top)" : text;
}
