/** A call of a function in SQL; its arguments as they stand there. */
export interface Call {
  /** In lower case, with the name of a database where one stands before it. */
  readonly name: string;
  readonly args: readonly string[];
}

/** Texts, quoted names and comments whole: what is in them calls nothing. */
const TOKENS =
  /'(?:[^'\\]|\\.|'')*'|"(?:[^"\\]|\\.|"")*"|`(?:[^`]|``)*`|\/\*.*?\*\/|(?:#|--(?=\s))[^\n]*|[\p{L}\p{N}_$.]+|[(),]/gsu;

/** All of them, those in arguments of others as well. */
export function callsIn(sql: string): readonly Call[] {
  const calls: Call[] = [];
  const open: { readonly name: string; readonly args: string[]; from: number }[] = [];
  let last = { token: "", end: 0 };
  for (const { 0: token, index } of sql.matchAll(TOKENS)) {
    const end = index + token.length;
    const call = open.at(-1);
    if (token === "(") {
      const called = sql.slice(last.end, index).trim() === "";
      open.push({ name: called ? last.token.toLowerCase() : "", args: [], from: end });
    } else if (call !== undefined && (token === "," || token === ")")) {
      call.args.push(sql.slice(call.from, index));
      call.from = end;
      if (token === ")") calls.push(...open.splice(-1));
    }
    last = { token, end };
  }
  return calls;
}
