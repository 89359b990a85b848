/**
 * The parameter that a URL says more than once, where there is one. Of two one reader takes the first, another the last: which of
 * `ssl-mode=DISABLED&ssl-mode=REQUIRED` counts must not be left to chance.
 */
export function saidTwice(parameters: URLSearchParams): string | undefined {
  return [...parameters.keys()].find((key) => parameters.getAll(key).length > 1);
}
