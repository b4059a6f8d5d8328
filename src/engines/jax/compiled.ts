import { type Array as JaxArray, jit } from '@jax-js/jax';
import { namedLeaves, refs } from './pytree.ts';

type TreeFunction<Arguments extends unknown[], Result> = (...given: Arguments) => Result;

/**
 * A function of trees, compiled for each new structure of its arguments or run as it is. Its arguments are
 * borrowed: jax-js consumes what a function is given, so each call gets references of its own.
 */
export class Compiled<Arguments extends unknown[], Result> {
  readonly #run: TreeFunction<Arguments, Result>;
  readonly #dispose: () => void;

  constructor(body: TreeFunction<Arguments, Result>, isCompiled: boolean) {
    const owned = isCompiled ? jit(body as never) : undefined;
    this.#run = (owned ?? body) as TreeFunction<Arguments, Result>;
    this.#dispose = () => owned?.dispose();
  }

  /** Calls it. When it throws, no reference that it was given stays behind. */
  call(...given: Arguments): Result {
    const arrays = given.flatMap((each) => namedLeaves(each).map(({ leaf }) => leaf as JaxArray));
    const counts = new Map(arrays.map((array) => [array, array.refCount]));
    try {
      return this.#run(...refs(given));
    } catch (error) {
      for (const [array, count] of counts) while (array.refCount > count) array.dispose();
      throw error;
    }
  }

  dispose(): void {
    this.#dispose();
  }
}
