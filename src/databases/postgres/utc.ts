/** As a session in any time zone prints a timestamptz, in ISO style. Infinity has no zone. */
const ZONED =
  /^(\d+)-(\d\d)-(\d\d) (\d\d):(\d\d):(\d\d)(\.\d+)?([+-])(\d+)(?::(\d\d))?(?::(\d\d))?( BC)?$/;

/** The Gregorian calendar repeats after so many years. */
const CYCLE = 400;

/** A timestamptz as a session in UTC would print it. */
export function inUtc(text: string): string {
  // Most sessions are in UTC.
  if (text.endsWith("+00")) return text;
  const match = ZONED.exec(text);
  if (match === null) return text;
  const [year, month, day, hours, minutes, seconds] = match.slice(1, 7).map(Number) as Six;
  const [fraction = "", sign, ...offset] = match.slice(7, 12);
  const [h, m, s] = offset.map((part) => Number(part ?? 0)) as [number, number, number];
  const ahead = (sign === "-" ? -1 : 1) * (h * 3600 + m * 60 + s);
  // There is no year 0. Dates know fewer years than PostgreSQL does.
  const counted = match[12] === undefined ? year : 1 - year;
  const alike = 2000 + (((counted % CYCLE) + CYCLE) % CYCLE);
  const utc = new Date(Date.UTC(alike, month - 1, day, hours, minutes, seconds - ahead));
  const utcYear = counted + utc.getUTCFullYear() - alike;
  const shown = String(utcYear > 0 ? utcYear : 1 - utcYear).padStart(4, "0");
  const [date, time] = [utc.toISOString().slice(4, 10), utc.toISOString().slice(11, 19)];
  return `${shown}${date} ${time}${fraction}+00${utcYear > 0 ? "" : " BC"}`;
}

type Six = [number, number, number, number, number, number];
