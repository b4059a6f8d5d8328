import assert from 'node:assert/strict';
import { assertSameState, type Check, copyState, EXACTLY, hold, stateOf } from './check.ts';

/** Going on as if nothing had happened, to the bit. */
export function resumingContract(check: Check): void {
  check('resumes exactly: captured at step 57, equal at step 67', async (modules) => {
    const uninterrupted = await modules.open(57);
    const meta = uninterrupted.meta();
    const read = hold(uninterrupted);
    await modules.train(uninterrupted, 57, 67);
    const resumed = await modules.open();
    const report = await resumed.load(await read(), meta, EXACTLY);
    assert.deepEqual(report, { missing: [], unexpected: [] });
    await modules.train(resumed, 57, 67);
    await assertSameState(resumed, uninterrupted);
    const loss = await resumed.trainStep(modules.batch(67), 67, 1);
    const value = await resumed.readScalar(loss);
    resumed.release(loss);
    assert.ok(Number.isFinite(value), `after 67 steps the loss is ${value}, which shows nothing`);
  });
  for (const clipping of [
    undefined,
    { value: 0.01, algorithm: 'norm' },
    { value: 0.01, algorithm: 'value' },
  ] as const) {
    const how = clipping === undefined ? 'without clipping' : `clipped by ${clipping.algorithm}`;
    check(`resumes in the middle of an accumulation, ${how}`, async (modules) => {
      const uninterrupted = await modules.open(3);
      await modules.accumulate(uninterrupted, 3, 0.5);
      const resumed = await modules.open();
      await copyState(uninterrupted, resumed);
      await assertSameState(resumed, uninterrupted);
      for (const module of [uninterrupted, resumed]) {
        await modules.accumulate(module, 4, 0.5);
        await module.optimizerStep(clipping);
        await modules.train(module, 5, 8);
      }
      await assertSameState(resumed, uninterrupted);
    });
  }
  check('goes back too: a trained module is as it was before its first step', async (modules) => {
    const fresh = await modules.open();
    const module = await modules.open(5);
    await modules.accumulate(module, 5, 1);
    await copyState(fresh, module);
    await assertSameState(module, fresh);
    for (const each of [fresh, module]) await modules.train(each, 0, 3);
    await assertSameState(module, fresh);
  });
  check('starts over with a new optimizer, which takes the place of the old', async (modules) => {
    const module = await modules.open(3);
    const before = modules.liveTensors;
    await module.setupOptimizers();
    await modules.train(module, 3, 6);
    assert.equal(modules.liveTensors, before);
  });
  check('is not changed by being saved', async (modules) => {
    const [module, twin] = [await modules.open(), await modules.open()];
    for (let step = 0; step < 5; step++) {
      await modules.train(module, step, step + 1);
      await stateOf(module);
      module.meta();
    }
    await modules.train(twin, 0, 5);
    await assertSameState(module, twin);
  });
  check('holds no tensor more after 20 loads', async (modules) => {
    const module = await modules.open(3);
    await modules.accumulate(module, 3, 0.5);
    const tensors = await stateOf(module);
    const meta = module.meta();
    await module.load(tensors, meta, EXACTLY);
    const before = modules.liveTensors;
    for (let load = 0; load < 20; load++) await module.load(tensors, meta, EXACTLY);
    assert.equal(modules.liveTensors, before);
  });
}
