/** One entry, and the trees of those before and after it. */
interface Node<K, V> {
  readonly key: K;
  readonly value: V;
  readonly before: Tree<K, V>;
  readonly after: Tree<K, V>;
  readonly size: number;
}

type Tree<K, V> = Node<K, V> | undefined;

/** Less than 0 when `a` comes before `b`, 0 for the same key. */
export type Compare<K> = (a: K, b: K) => number;

/**
 * An immutable map in the order of its keys. A change gives a new map that shares all but a few nodes with
 * the old one, so that every operation takes time logarithmic in the size, and old versions stay as they are.
 *
 * A weight-balanced tree. Source of the balance (Δ = 3, Γ = 2): Hirai and Yamamoto, "Balancing weight-balanced
 * trees", Journal of Functional Programming 21 (2011).
 */
export class SortedMap<K, V> {
  readonly #compare: Compare<K>;
  readonly #root: Tree<K, V>;

  private constructor(compare: Compare<K>, root: Tree<K, V>) {
    this.#compare = compare;
    this.#root = root;
  }

  static empty<K, V>(compare: Compare<K>): SortedMap<K, V> {
    return new SortedMap(compare, undefined);
  }

  get size(): number {
    return sizeOf(this.#root);
  }

  get(key: K): V | undefined {
    let node = this.#root;
    while (node !== undefined) {
      const order = this.#compare(key, node.key);
      if (order === 0) return node.value;
      node = order < 0 ? node.before : node.after;
    }
    return undefined;
  }

  with(key: K, value: V): SortedMap<K, V> {
    return new SortedMap(this.#compare, insert(this.#root, key, value, this.#compare));
  }

  without(key: K): SortedMap<K, V> {
    return new SortedMap(this.#compare, remove(this.#root, key, this.#compare));
  }

  /** The first entry whose key is not before `from`; of all without it. */
  first(from?: K): readonly [K, V] | undefined {
    let found: Tree<K, V>;
    let node = this.#root;
    while (node !== undefined) {
      const isBefore = from !== undefined && this.#compare(node.key, from) < 0;
      if (!isBefore) found = node;
      node = isBefore ? node.after : node.before;
    }
    return found && [found.key, found.value];
  }

  last(): readonly [K, V] | undefined {
    let node = this.#root;
    while (node?.after !== undefined) node = node.after;
    return node && [node.key, node.value];
  }

  *[Symbol.iterator](): MapIterator<[K, V]> {
    yield* entries(this.#root);
  }
}

function* entries<K, V>(tree: Tree<K, V>): MapIterator<[K, V]> {
  if (tree === undefined) return;
  yield* entries(tree.before);
  yield [tree.key, tree.value];
  yield* entries(tree.after);
}

function insert<K, V>(tree: Tree<K, V>, key: K, value: V, compare: Compare<K>): Node<K, V> {
  if (tree === undefined) return join(key, value, undefined, undefined);
  const order = compare(key, tree.key);
  if (order === 0) return join(key, value, tree.before, tree.after);
  const { before, after } = tree;
  return order < 0
    ? balance(tree.key, tree.value, insert(before, key, value, compare), after)
    : balance(tree.key, tree.value, before, insert(after, key, value, compare));
}

function remove<K, V>(tree: Tree<K, V>, key: K, compare: Compare<K>): Tree<K, V> {
  if (tree === undefined) return undefined;
  const { before, after } = tree;
  const order = compare(key, tree.key);
  if (order < 0) return balance(tree.key, tree.value, remove(before, key, compare), after);
  if (order > 0) return balance(tree.key, tree.value, before, remove(after, key, compare));
  if (before === undefined) return after;
  if (after === undefined) return before;
  let next = after;
  while (next.before !== undefined) next = next.before;
  return balance(next.key, next.value, before, remove(after, next.key, compare));
}

/** How many times as heavy one side may be as the other. */
const DELTA = 3;
/** Below how many times the outer grandchild the inner one lets a single rotation do. */
const GAMMA = 2;

function balance<K, V>(key: K, value: V, before: Tree<K, V>, after: Tree<K, V>): Node<K, V> {
  if (after !== undefined && weightOf(after) > DELTA * weightOf(before)) {
    const { before: inner, after: outer } = after;
    if (inner === undefined || weightOf(inner) < GAMMA * weightOf(outer)) {
      return join(after.key, after.value, join(key, value, before, inner), outer);
    }
    const left = join(key, value, before, inner.before);
    const right = join(after.key, after.value, inner.after, outer);
    return join(inner.key, inner.value, left, right);
  }
  if (before !== undefined && weightOf(before) > DELTA * weightOf(after)) {
    const { before: outer, after: inner } = before;
    if (inner === undefined || weightOf(inner) < GAMMA * weightOf(outer)) {
      return join(before.key, before.value, outer, join(key, value, inner, after));
    }
    const left = join(before.key, before.value, outer, inner.before);
    const right = join(key, value, inner.after, after);
    return join(inner.key, inner.value, left, right);
  }
  return join(key, value, before, after);
}

function join<K, V>(key: K, value: V, before: Tree<K, V>, after: Tree<K, V>): Node<K, V> {
  return { key, value, before, after, size: sizeOf(before) + 1 + sizeOf(after) };
}

const sizeOf = (tree: Tree<unknown, unknown>): number => tree?.size ?? 0;
const weightOf = (tree: Tree<unknown, unknown>): number => sizeOf(tree) + 1;
