/**
 * The answer to a question on the terminal. Ctrl-D closes the input, of which the prompt says nothing: nothing would be left
 * to wait for, and Node end with a word on unsettled promises. It is taken as Ctrl-C.
 */
export async function answered<T>(ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const ended = new AbortController();
  const end = () => ended.abort();
  process.once("beforeExit", end);
  try {
    return await ask(ended.signal);
  } finally {
    process.off("beforeExit", end);
  }
}
