const SIZE_UNITS: Readonly<Record<string, number>> = {
  b: 1,
  kb: 1000,
  mb: 1000 ** 2,
  gb: 1000 ** 3,
  tb: 1000 ** 4,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
};

const DURATION_UNITS: Readonly<Record<string, number>> = {
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Bytes of `512MB`, `1.5 GiB` or `1000000`; null when it is not a size above zero. */
export function parseSize(text: string): number | null {
  return parseAmount(text, SIZE_UNITS, "b");
}

/** Milliseconds of `500ms`, `30s`, `5m`, `1h`; null when it is not a duration above zero. A bare number is refused: its unit would be a guess. */
export function parseDuration(text: string): number | null {
  return parseAmount(text, DURATION_UNITS, null);
}

function parseAmount(
  text: string,
  units: Readonly<Record<string, number>>,
  defaultUnit: string | null,
): number | null {
  const match = /^\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text);
  const unit = match?.[2]?.toLowerCase() || defaultUnit;
  const factor = unit === null || unit === undefined ? undefined : units[unit];
  const amount = Math.round(Number(match?.[1]) * (factor ?? Number.NaN));
  return Number.isSafeInteger(amount) && amount > 0 ? amount : null;
}
