import assert from 'node:assert/strict';
import type { Engine, EngineState, LoadedTensor, StateGroup } from '../../engines/engine.ts';

/** One kind of module with one kind of optimizer, fresh for one test. */
export interface EngineUnderTest {
  /**
   * A module as its constructor leaves it. Each call gives the same architecture and the same weights:
   * two or more, of floats, all of which the loss depends on.
   */
  readonly open: () => Engine;
  /** The batch of a step, from 0. The same for the same step, and another one for each step. */
  readonly batch: (step: number) => unknown;
  /** A batch for which `trainingStep` throws, preferably late. */
  readonly brokenBatch: unknown;
  /** How many tensors the library holds now. Without it leaks are not looked for. */
  readonly liveTensors?: () => number;
  /** How many bytes they take. */
  readonly liveBytes?: () => number;
  /** Called at the end of the test, whether it passed or not. */
  dispose?(): void | Promise<void>;
}

/** Registers one test. */
export type Check = (sentence: string, body: (modules: Modules) => Promise<void>) => unknown;

/** The modules of one test. They are disposed at its end. */
export class Modules {
  readonly #made: EngineUnderTest;
  readonly #opened = new Set<Engine>();

  constructor(made: EngineUnderTest) {
    this.#made = made;
  }

  get batch(): EngineUnderTest['batch'] {
    return this.#made.batch;
  }

  get brokenBatch(): unknown {
    return this.#made.brokenBatch;
  }

  /** 0 when the engine does not tell. */
  get liveTensors(): number {
    return this.#made.liveTensors?.() ?? 0;
  }

  /** 0 when the engine does not tell. */
  get liveBytes(): number {
    return this.#made.liveBytes?.() ?? 0;
  }

  /** A module without an optimizer. */
  openBare(): Engine {
    const module = this.#made.open();
    this.#opened.add(module);
    return module;
  }

  /** A module, trained for some steps. */
  async open(steps = 0): Promise<Engine> {
    const module = this.openBare();
    await module.setupOptimizers();
    await this.train(module, 0, steps);
    return module;
  }

  /** One optimizer step for each batch in `[from, to)`. */
  async train(module: Engine, from: number, to: number): Promise<void> {
    for (let step = from; step < to; step++) {
      await this.accumulate(module, step, 1);
      await module.optimizerStep(undefined);
    }
  }

  /** Adds the gradients of one batch to the pending ones. */
  async accumulate(module: Engine, step: number, scale: number): Promise<void> {
    module.release(await module.trainStep(this.batch(step), step, scale));
  }

  /** Disposes one module, or all that still are there. */
  dispose(...modules: Engine[]): void {
    for (const module of modules.length > 0 ? modules : this.#opened) {
      this.#opened.delete(module);
      module.dispose();
    }
  }
}

/** A state, retained now and read later: what a snapshot does. Reading releases it. */
export function hold(module: EngineState): () => Promise<LoadedTensor[]> {
  const held = [...module.state()].map(({ group, name, dtype, shape, handle }) => ({
    entry: { group, name, dtype, shape: [...shape] },
    owned: module.retain(handle),
  }));
  return async () => {
    const tensors: LoadedTensor[] = [];
    for (const { entry, owned } of held) {
      tensors.push({ ...entry, bytes: Uint8Array.from(await module.read(owned)) });
      module.release(owned);
    }
    return tensors;
  };
}

/** A whole state, as a checkpoint would hold it now. */
export async function stateOf(
  module: EngineState,
  ...groups: StateGroup[]
): Promise<LoadedTensor[]> {
  const tensors = await hold(module)();
  return groups.length === 0 ? tensors : tensors.filter(({ group }) => groups.includes(group));
}

/** How a checkpoint is loaded into a module that fits it. */
export const EXACTLY = { strict: true, weightsOnly: false } as const;

/** Puts the state of one module into another. */
export async function copyState(from: Engine, to: Engine): Promise<void> {
  await to.load(await stateOf(from), from.meta(), EXACTLY);
}

/** Asserts that two modules are in the same state, to the bit. */
export async function assertSameState(actual: Engine, expected: Engine): Promise<void> {
  assertSameTensors(await stateOf(actual), await stateOf(expected));
  assert.deepEqual(actual.meta(), expected.meta());
}

/** Asserts that the tensors are the same to the bit, in any order. */
export function assertSameTensors(
  actual: readonly LoadedTensor[],
  expected: readonly LoadedTensor[],
): void {
  assert.deepEqual(actual.map(labelOf).sort(), expected.map(labelOf).sort());
  const byLabel = new Map(actual.map((tensor) => [labelOf(tensor), tensor]));
  for (const tensor of expected) {
    assert.deepEqual(byLabel.get(labelOf(tensor)), tensor, labelOf(tensor));
  }
}

/** Asserts that at least one value differs: a test that compared equals would show nothing. */
export function assertOtherTensors(
  actual: readonly LoadedTensor[],
  expected: readonly LoadedTensor[],
): void {
  assert.throws(() => assertSameTensors(actual, expected), 'the state has not changed at all');
}

/** The name of a tensor, with its group. */
export function labelOf({ group, name }: Pick<LoadedTensor, 'group' | 'name'>): string {
  return `${group} ${name}`;
}
