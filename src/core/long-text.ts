const PIECE = 32_768;

/**
 * As `work(text)`, for a replacement that looks at a character, or at a run of `unit` by pairs, at a time. A long
 * text is worked on piece by piece: a hundred bytes are left behind for each thing replaced, which are
 * then gone before the next piece, where all of them at once would take many times the text. So `work` must not
 * replace by a text without `$` in it: V8 puts such a result together when it is read, and keeps its parts until then.
 */
export function inPieces(text: string, unit: string, work: (piece: string) => string): string {
  if (text.length <= PIECE) return work(text);
  const pieces: string[] = [];
  for (let from = 0; from < text.length; ) {
    const to = endOfPiece(text, from, unit);
    pieces.push(work(text.slice(from, to)));
    from = to;
  }
  return pieces.join("");
}

/** Never between the first and the second of a pair. */
function endOfPiece(text: string, from: number, unit: string): number {
  const to = Math.min(text.length, from + PIECE);
  let run = 0;
  while (to - run > from && text[to - run - 1] === unit) run++;
  return run % 2 === 1 && to < text.length ? to + 1 : to;
}
