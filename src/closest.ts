/**
 * The known word that was probably meant: the nearest, when at most a third of it is wrong. Case, `_` and `-` do not
 * count, so that Python's `save_top_k` finds `saveTopK`.
 */
export function closest(word: string, known: Iterable<string>): string | undefined {
  const plain = plainOf(word);
  if (plain === '') return undefined;
  let nearest: string | undefined;
  let least = Math.floor(plain.length / 3) + 1;
  for (const candidate of known) {
    const other = plainOf(candidate);
    const edits = other === plain ? 0 : other.startsWith(plain) ? 0.5 : editDistance(plain, other);
    if (edits < least) {
      nearest = candidate;
      least = edits;
    }
  }
  return nearest;
}

function plainOf(word: string): string {
  return word.toLowerCase().replaceAll(/[-_]/g, '');
}

/** How many letters must be put in, left out, exchanged, or swapped with the next (optimal string alignment). */
function editDistance(from: string, to: string): number {
  let before: number[] = [];
  let row = Array.from({ length: to.length + 1 }, (_, j) => j);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const exchanged = row[j - 1]! + (from[i - 1] === to[j - 1] ? 0 : 1);
      const isSwap = from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1];
      const swapped = isSwap ? before[j - 2]! + 1 : Number.POSITIVE_INFINITY;
      next.push(Math.min(exchanged, swapped, row[j]! + 1, next[j - 1]! + 1));
    }
    before = row;
    row = next;
  }
  return row[to.length]!;
}
