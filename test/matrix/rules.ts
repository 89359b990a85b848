// The rules that `plan` names, as functions: what must arrive, or that the value must stop the sync.
import type { ColumnType } from "../../src/core/column-type.ts";
import { isTidemarkError } from "../../src/core/errors.ts";
import { isTagged, ownText, type Tagged, type Value } from "../../src/core/value.ts";
import type { Outcome } from "./crossing.ts";

const STOPS = Symbol("stops");
type Rule = (text: string) => string | typeof STOPS;

const asIs: Rule = (text) => text;
const inYears: Rule = (text) => (/infinity|BC$|^\d{5}/.test(text) ? STOPS : text);
const unsignedZero = (text: string) => (text === "-0" ? "0" : text);

/** The one rule for values of any storage class in one column. */
const MIXED = "the text of each value, bytes as X'00ff'";
/** What a server does to a document that it keeps in a form of its own. */
const JSON_FORM =
  "the server keeps its own form: key order, spaces and number format may differ, of a key that stands twice one is kept, and digits beyond a double's or 64 bits are not";

/** By the note of the plan, to the letter. */
const RULES: Readonly<Record<string, Rule>> = {
  "as text": asIs,
  "as text: a number without bounds fits no DECIMAL": asIs,
  "as text: more digits than a DECIMAL may have": asIs,
  "as text, in the form of docs/reference/values.md": asIs,
  "stored as its exact text": asIs,
  "the source's own text": asIs,
  "the label as text": asIs,
  "the label as text, so that a new label needs no change here": asIs,
  "1 for true, 0 for false": (text) => (text === "t" ? "1" : "0"),
  "years 1 to 9999; infinity is refused": inYears,
  "the same instant as wall clock in UTC; years 1 to 9999; infinity is refused": (text) => {
    const kept = inYears(text);
    return kept === STOPS ? STOPS : text.replace(/\+00$/, "");
  },
  [JSON_FORM]: (text) => (Number(text) === Infinity ? STOPS : text),
  "-0 becomes 0": unsignedZero,
  "NaN and infinity are refused": (text) => (/NaN|Infinity/.test(text) ? STOPS : text),
  "NaN and infinity are refused; -0 becomes 0": (text) =>
    /NaN|Infinity/.test(text) ? STOPS : unsignedZero(text),
  "NaN, which a REAL cannot hold, is the text 'NaN'; -0 becomes 0": unsignedZero,
  "times of day only: a value outside 00:00-24:00 is refused": (text) =>
    /^(?:(?:[01]\d|2[0-3]):|24:00:00$)/.test(text) ? text : STOPS,
};

/** Null when what arrived is what the rule says; else what is wrong. */
export function breach(
  note: string,
  type: ColumnType,
  before: Value,
  after: Outcome,
): string | null {
  if (note === JSON_FORM && typeof before === "string" && !isTidemarkError(after))
    return sameDocument(before, after) ? null : "is another document";
  const rule =
    RULES[note] ??
    (/^(as text|the label as text): type \S+ is not here$/.test(note) || onlyRefuses(note)
      ? asIs
      : undefined);
  if (rule === undefined && note !== MIXED) return `no test knows the rule "${note}"`;
  const expected = expectation(note, rule, before);
  if (expected === STOPS) return isTidemarkError(after) ? null : "should have been refused";
  if (isTidemarkError(after)) return `was refused: ${after.message}`;
  return isSame(type, expected, after) ? null : `should be ${String(expected)}`;
}

/** Rules after which a value is not what it was: its class is lost, or its document's form. */
const LOSSY = [MIXED, JSON_FORM];

/** What a rule makes of a text that does not stop the sync; null of a rule that loses something. */
export function formOf(note: string): ((text: string) => string) | null {
  if (LOSSY.includes(note)) return null;
  return (text) => {
    const made = (RULES[note] ?? asIs)(text);
    return made === STOPS ? text : made;
  };
}

/** Null when what has come back is what was sent, or what the rule made of it on the way there. */
export function breachOnReturn(
  note: string,
  type: ColumnType,
  before: Value,
  back: Outcome | undefined,
): string | null {
  if (back === undefined || isTidemarkError(back)) return "does not come back";
  if (note === MIXED) return null;
  const isKept = isSame(type, before, back) || breach(note, type, before, back) === null;
  return isKept ? null : "comes back as another value";
}

/** "more than 20 characters are refused": nothing is changed by it. */
function onlyRefuses(note: string): boolean {
  return note.split("; ").every((part) => /\b(?:are|is) refused\b/.test(part));
}

function expectation(note: string, rule: Rule | undefined, before: Value): Value | typeof STOPS {
  if (before === null || before === 0) return before;
  if (typeof before === "string") return rule?.(before) ?? before;
  // A value that is not of its column's class.
  return note === MIXED ? (ownText(before as Tagged) ?? STOPS) : STOPS;
}

/**
 * Equal but for what is only spelling: 1e+15 and 1e15 are one number, a fraction of a second may
 * end in zeros.
 */
export function isSame(type: ColumnType, a: Value, b: Value): boolean {
  if (isTagged(a) || isTagged(b)) return JSON.stringify(a) === JSON.stringify(b);
  if (typeof a !== "string" || typeof b !== "string") return a === b;
  if (type.kind === "float") {
    const value = (text: string) => (type.bits === 32 ? Math.fround(Number(text)) : Number(text));
    return Object.is(value(a), value(b));
  }
  return /^time/.test(type.kind) ? shortest(a) === shortest(b) : a === b;
}

function shortest(time: string): string {
  return time.replace(/(\.\d*?)0+(?=$|[+-])/, "$1").replace(/\.(?=$|[+-])/, "");
}

function sameDocument(before: Value, after: Outcome): boolean {
  if (typeof before !== "string" || typeof after !== "string") return false;
  return JSON.stringify(sorted(JSON.parse(before))) === JSON.stringify(sorted(JSON.parse(after)));
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== "object") return value;
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(entries.map(([key, inner]) => [key, sorted(inner)]));
}
