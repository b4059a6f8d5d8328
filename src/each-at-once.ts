/**
 * Works on items as they come, at most `limit` at a time, in no set order. When one fails no more are taken, and
 * it rejects once those under way have ended.
 */
export async function eachAtOnce<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const iterator =
    Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const failures: unknown[] = [];
  const one = async (): Promise<void> => {
    try {
      while (failures.length === 0) {
        const { value, done } = await iterator.next();
        if (done) return;
        await work(value);
      }
    } catch (error) {
      failures.push(error);
    }
  };
  await Promise.all(Array.from({ length: limit }, one));
  if (failures.length === 0) return;
  await iterator.return?.();
  throw failures[0];
}
