/** Servers of a cluster need a few seconds to agree on a new leader. */
const ASK_AGAIN_MS = 500;

/**
 * While servers of a cluster agree on who leads a stream, questions about it are lost without a word: one that was put too
 * early would be waited for in vain for as long as a question may take, and then the next.
 */
export function askUntilAnswered<T>(question: () => Promise<T>): Promise<T> {
  const { promise, resolve, reject } = Promise.withResolvers<T>();
  // The time of the first is over first, and that of all with it.
  const put = () => void question().then(resolve, reject);
  put();
  const again = setInterval(put, ASK_AGAIN_MS);
  return promise.finally(() => clearInterval(again));
}
