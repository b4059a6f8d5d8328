import type { Array as JaxArray } from '@jax-js/jax';
import type { StateGroup } from '../engine.ts';
import type { LoadPlan } from '../load-plan.ts';
import { arrayLike, formatOf } from './arrays.ts';
import { free, namedLeaves, withLeaves } from './pytree.ts';

/** The arrays of a tree under the names that a checkpoint has for them. */
export function storedLeaves(tree: unknown): { readonly name: string; readonly array: JaxArray }[] {
  return namedLeaves(tree).map(({ name, leaf }) => ({
    // A tree that is a single array has no way to it.
    name: name === '' ? 'value' : name,
    array: leaf as JaxArray,
  }));
}

/**
 * Plans to put stored tensors in the places of a tree; those that are missing keep what they hold. The old
 * tree is freed, but for `gradient`: there it is only the template.
 */
export function planTree<Tree>(
  plan: LoadPlan,
  group: StateGroup,
  root: Tree,
  put: (loaded: Tree) => void,
): void {
  const places = storedLeaves(root).map(({ name, array }) => ({
    array,
    stored: plan.take(group, name, formatOf(array)),
  }));
  plan.after(() => {
    const loaded = places.map(({ array, stored }) =>
      stored === undefined ? array.ref : arrayLike(array, stored.bytes),
    );
    put(withLeaves(root, loaded));
    if (group !== 'gradient') free(root);
  });
}
