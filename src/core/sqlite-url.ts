/** What a `sqlite:` URL holds, as it is written. */
export interface SqliteUrl {
  readonly file: string;
  /** Without the `?`; empty when there are none. */
  readonly parameters: string;
}

const URL_PARTS = /^sqlite:(?:\/\/(?=\/))?(.*?)(?:\?([\w-]+=[^?/]*))?$/is;

/**
 * A path is taken as it is written, for a folder may have any name: nothing is decoded, and %, # and ? are
 * characters like any other. Parameters are looked for in the last name of the path alone: what its last ?
 * begins, where a word and = follow. Null where no file is named.
 */
export function splitSqliteUrl(url: string): SqliteUrl | null {
  const [, file = "", parameters = ""] = URL_PARTS.exec(url) ?? [];
  const name = file.slice(file.lastIndexOf("/") + 1);
  if (["", ".", ".."].includes(name) || file === ":memory:") return null;
  return { file, parameters };
}

export function joinSqliteUrl({ file, parameters }: SqliteUrl): string {
  return `sqlite:${file}${parameters === "" ? "" : `?${parameters}`}`;
}
