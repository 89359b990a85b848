/**
 * Letters for which the engine has short codes of its own in the names of files: Latin, Greek,
 * Cyrillic, Armenian, numerals, circled and wide letters.
 */
const SHORT_CODED = /[\u00c0-\u058f\u1e00-\u1fff\u2160-\u217f\u24b6-\u24e9\uff21-\uff5a]/gu;
const SOME_LETTER = "\u0001";

/**
 * The engine knows tables by the names of their files, where `a-b` is `a@002db`. MariaDB would tell
 * the name; MySQL does not, and which short code stands for which letter is written nowhere. So names
 * are compared with all such letters held equal: by this.
 */
export function likeness(name: string): string {
  return name.replace(SHORT_CODED, SOME_LETTER);
}

/** The likeness of a name given as that of a file. */
export function likenessOfFile(file: string): string {
  const name = file.replace(/@(?:([0-9a-f]{4})|..)/giu, (_, code: string | undefined) =>
    code === undefined ? SOME_LETTER : String.fromCharCode(Number.parseInt(code, 16)),
  );
  return likeness(name);
}
