import type { Row, Tagged, Value } from "./value.ts";

/** A change as a piece holds it (docs/reference/message.md). */
export type WireChange = [
  layout: number,
  op: string,
  transaction: number,
  keyBefore: Row | null,
  row: Row | null,
  rowBefore: Row | null,
  filters: string,
];

/** Makes of a change as it is written what the reader wants of it: nothing in between stays for the collector. */
export type ChangeMaker<C> = (...wire: WireChange) => C;

/** What stands before the changes of a piece, as JSON.parse gives it, and the changes. */
export interface WireText<H, C> {
  readonly head: H;
  readonly changes: readonly C[];
}

const CHANGES = ',"changes":[';

/**
 * Reads the JSON of a piece as `encodePieces` writes it: without spaces, `changes` last. Null when
 * it is not exactly that; then JSON.parse must tell whether it is a message.
 *
 * Three times as fast as JSON.parse, which looks every short string up in a table of all strings; and
 * what it puts there is not young, so it stays until a full collection: applying a large batch took
 * 100 MB more.
 */
export function readWireText<H, C>(
  text: string,
  makerFor: (head: H) => ChangeMaker<C>,
): WireText<H, C> | null {
  // A quote inside a string is escaped, so this is the key and nothing else.
  const at = text.indexOf(CHANGES);
  if (at === -1) return null;
  try {
    const head = JSON.parse(`${text.slice(0, at)}}`) as H;
    const changes = new ChangesReader(text, at + CHANGES.length, makerFor(head)).read();
    return { head, changes };
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

const QUOTE = 0x22;
const COMMA = 0x2c;
const ZERO = 0x30;
const NINE = 0x39;
const OPEN = 0x5b;
const BACKSLASH = 0x5c;
const CLOSE = 0x5d;
const N = 0x6e;

const OTHER_SHAPE = "not as encodePieces writes it";

class ChangesReader<C> {
  readonly #text: string;
  readonly #make: ChangeMaker<C>;
  #at: number;
  /** Where the next backslash stands, from `#at` on or a little before it. */
  #backslash: number;

  constructor(text: string, at: number, make: ChangeMaker<C>) {
    this.#text = text;
    this.#at = at;
    this.#make = make;
    this.#backslash = this.#find("\\", at);
  }

  /** Throws a SyntaxError where it is written otherwise. */
  read(): C[] {
    const changes: C[] = [];
    if (!this.#takes(CLOSE)) {
      do changes.push(this.#change());
      while (this.#takes(COMMA));
      this.#expect(CLOSE);
    }
    if (this.#text.slice(this.#at) !== "}") throw new SyntaxError(OTHER_SHAPE);
    return changes;
  }

  #change(): C {
    this.#expect(OPEN);
    const layout = this.#number();
    this.#expect(COMMA);
    const op = this.#string();
    this.#expect(COMMA);
    const transaction = this.#number();
    this.#expect(COMMA);
    const keyBefore = this.#row();
    this.#expect(COMMA);
    const row = this.#row();
    this.#expect(COMMA);
    const rowBefore = this.#row();
    this.#expect(COMMA);
    const filters = this.#string();
    this.#expect(CLOSE);
    return this.#make(layout, op, transaction, keyBefore, row, rowBefore, filters);
  }

  #row(): Row | null {
    if (this.#isNull()) return null;
    this.#expect(OPEN);
    const row: Value[] = [];
    if (this.#takes(CLOSE)) return row;
    do row.push(this.#value());
    while (this.#takes(COMMA));
    this.#expect(CLOSE);
    return row;
  }

  #value(): Value {
    const code = this.#text.charCodeAt(this.#at);
    if (code === QUOTE) return this.#string();
    if (code === N && this.#isNull()) return null;
    if (code === ZERO) return this.#number() as 0;
    this.#expect(OPEN);
    const storage = this.#string();
    this.#expect(COMMA);
    const tagged = [storage, this.#string()];
    this.#expect(CLOSE);
    return tagged as unknown as Tagged;
  }

  #string(): string {
    this.#expect(QUOTE);
    const start = this.#at;
    const end = this.#find('"', start);
    if (this.#backslash < start) this.#backslash = this.#find("\\", start);
    if (end > this.#backslash) return this.#escaped(start);
    if (end === Number.POSITIVE_INFINITY) throw new SyntaxError(OTHER_SHAPE);
    this.#at = end + 1;
    return this.#text.slice(start, end);
  }

  /** A string with a backslash in it: its end is the first quote that none escapes. */
  #escaped(start: number): string {
    let end = start;
    for (let code = this.#text.charCodeAt(end); code !== QUOTE; ) {
      if (Number.isNaN(code)) throw new SyntaxError(OTHER_SHAPE);
      end += code === BACKSLASH ? 2 : 1;
      code = this.#text.charCodeAt(end);
    }
    this.#at = end + 1;
    return JSON.parse(this.#text.slice(start - 1, end + 1)) as string;
  }

  #number(): number {
    const start = this.#at;
    for (;;) {
      const code = this.#text.charCodeAt(this.#at);
      if (!(code >= ZERO && code <= NINE)) break;
      this.#at++;
    }
    if (this.#at === start) throw new SyntaxError(OTHER_SHAPE);
    return Number(this.#text.slice(start, this.#at));
  }

  #isNull(): boolean {
    if (this.#text.charCodeAt(this.#at) !== N || !this.#text.startsWith("null", this.#at)) {
      return false;
    }
    this.#at += 4;
    return true;
  }

  #takes(code: number): boolean {
    if (this.#text.charCodeAt(this.#at) !== code) return false;
    this.#at++;
    return true;
  }

  #expect(code: number): void {
    if (!this.#takes(code)) throw new SyntaxError(OTHER_SHAPE);
  }

  #find(character: string, from: number): number {
    const at = this.#text.indexOf(character, from);
    return at === -1 ? Number.POSITIVE_INFINITY : at;
  }
}
