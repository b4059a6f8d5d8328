import assert from 'node:assert/strict';
import {
  assertOtherTensors,
  assertSameTensors,
  type Check,
  EXACTLY,
  hold,
  stateOf,
} from './check.ts';

/** What a training step does to the state, and what not. */
export function steppingContract(check: Check): void {
  check('trains: the same batches make the same weights', async (modules) => {
    const before = await stateOf(await modules.open(), 'model');
    const once = await stateOf(await modules.open(5));
    assertSameTensors(await stateOf(await modules.open(5)), once);
    for (const [index, tensor] of once.filter(({ group }) => group === 'model').entries()) {
      assertOtherTensors([tensor], [before[index]!]);
    }
  });
  check('gives the loss as a number that can be read', async (modules) => {
    const module = await modules.open();
    const loss = await module.trainStep(modules.batch(0), 0, 1);
    const value = await module.readScalar(loss);
    assert.ok(Number.isFinite(value), `the loss is ${value}`);
    assert.equal(await module.readScalar(loss), value, 'reading leaves it as it is');
    if (module.isTensor(loss)) assert.ok(module.describe(loss).dtype.length > 0);
    else assert.equal(typeof loss, 'number');
    module.release(loss);
    assert.equal(await module.readScalar(2.5), 2.5);
    assert.equal(module.isTensor(2.5), false);
    assert.equal(module.isTensor(undefined), false);
    module.release(2.5);
  });
  check('adds gradients times their scale, and drops them once applied', async (modules) => {
    const [halves, whole] = [await modules.open(2), await modules.open(2)];
    const before = await stateOf(halves, 'model', 'optimizer', 'rng');
    const meta = halves.meta();
    await modules.accumulate(halves, 2, 0.5);
    // The same batch again, and the same random numbers if it takes any.
    const half = await stateOf(halves, 'gradient');
    await halves.load([...before, ...half], meta, EXACTLY);
    await modules.accumulate(halves, 2, 0.5);
    await modules.accumulate(whole, 2, 1);
    const pending = await stateOf(halves, 'gradient');
    assert.ok(pending.length > 0, 'pending gradients are part of the state');
    assertSameTensors(pending, await stateOf(whole, 'gradient'));
    const untrained = before.filter(({ group }) => group !== 'rng');
    assertSameTensors(await stateOf(halves, 'model', 'optimizer'), untrained);
    await halves.optimizerStep(undefined);
    assert.deepEqual(await stateOf(halves, 'gradient'), []);
  });
  for (const algorithm of ['norm', 'value'] as const) {
    check(`clips by ${algorithm} only what is above the limit`, async (modules) => {
      const after = async (limit: number | undefined) => {
        const module = await modules.open(2);
        await modules.accumulate(module, 2, 1);
        await module.optimizerStep(limit === undefined ? limit : { value: limit, algorithm });
        return await stateOf(module, 'model', 'optimizer');
      };
      const unclipped = await after(undefined);
      assertSameTensors(await after(1e6), unclipped);
      assertOtherTensors(await after(1e-3), unclipped);
    });
  }
  check('adds nothing when trainingStep throws, and trains on', async (modules) => {
    const [module, twin] = [await modules.open(2), await modules.open(2)];
    for (const each of [module, twin]) await modules.accumulate(each, 2, 0.5);
    const before = await stateOf(module);
    const live = modules.liveTensors;
    await assert.rejects(async () => await module.trainStep(modules.brokenBatch, 3, 0.5));
    assert.equal(modules.liveTensors, live, 'nothing of the failed step stays behind');
    assertSameTensors(await stateOf(module), before);
    for (const each of [module, twin]) {
      await modules.accumulate(each, 3, 0.5);
      await each.optimizerStep(undefined);
    }
    assertSameTensors(await stateOf(module), await stateOf(twin));
  });
  check('evaluates without a trace', async (modules) => {
    const module = await modules.open(2);
    await modules.accumulate(module, 2, 0.5);
    const read = hold(module);
    for (const stage of ['validation', 'test', 'predict'] as const) {
      const output = await module.evalStep(stage, modules.batch(3), 0, 0);
      if (module.isTensor(output)) module.release(output);
    }
    assertSameTensors(await stateOf(module), await read());
  });
}
