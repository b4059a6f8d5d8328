import { type Array as JaxArray, type JsTree, tree } from '@jax-js/jax';
import { MisconfigurationError } from '../../errors.ts';

/** Arrays in nested arrays and plain objects, as jax-js computes with them. */
export type PyTree = JsTree<JaxArray>;

/** One array of a tree, named by the way to it: `fc1.kernel`, `0.mu.fc1.kernel`. */
export interface NamedLeaf {
  readonly name: string;
  readonly leaf: unknown;
}

/**
 * The leaves of a tree in jax-js's own order, borrowed. A tree that is one leaf is named `''`.
 *
 * @throws MisconfigurationError when two ways have one name, as `{'a.b': …}` and `{a: {b: …}}`.
 */
export function namedLeaves(root: unknown): readonly NamedLeaf[] {
  const found: NamedLeaf[] = [];
  const names = new Set<string>();
  const visit = (node: unknown, name: string): void => {
    if (Array.isArray(node) || isPlain(node)) {
      for (const [key, child] of Object.entries(node)) visit(child, name ? `${name}.${key}` : key);
      return;
    }
    if (names.has(name)) {
      throw new MisconfigurationError(
        `Two arrays are named '${name}': give the keys of the tree other names.`,
        { details: { name } },
      );
    }
    names.add(name);
    found.push({ name, leaf: node });
  };
  visit(root, '');
  return found;
}

/** A tree of the same structure with these leaves, in the order of {@link namedLeaves}. */
export function withLeaves<Tree>(root: Tree, leaves: readonly JaxArray[]): Tree {
  return tree.unflatten(tree.structure(root as PyTree), leaves) as Tree;
}

/** One more reference to every array of a tree. */
export function refs<Tree>(root: Tree): Tree {
  return tree.ref(root as PyTree) as Tree;
}

/** Gives back one reference to every array of a tree. */
export function free(root: unknown): void {
  tree.dispose(root as PyTree | undefined);
}

/** Source: jax-js 0.1.25, `tree.flatten`: anything else is a leaf. */
function isPlain(value: unknown): value is object {
  return typeof value === 'object' && value !== null && value.constructor === Object;
}
