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

/** The compiled functions of a module, by name: each is made when it is first asked for. */
export class CompiledSteps {
  readonly #made = new Map<string, Compiled<never[], unknown>>();

  /** @param body of which only the first for a name counts, until it is forgotten. */
  of<Arguments extends unknown[], Result>(
    name: string,
    body: (...given: Arguments) => Result,
    isCompiled: boolean,
  ): Compiled<Arguments, Result> {
    const made = this.#made.get(name) ?? new Compiled(body as never, isCompiled);
    this.#made.set(name, made);
    return made as unknown as Compiled<Arguments, Result>;
  }

  /** Disposes of those whose name begins so; `''`: of all. */
  forget(prefix: string): void {
    for (const [name, compiled] of this.#made) {
      if (!name.startsWith(prefix)) continue;
      compiled.dispose();
      this.#made.delete(name);
    }
  }
}
