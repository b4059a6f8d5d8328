import assert from 'node:assert/strict';
import {
  assertOtherTensors,
  assertSameState,
  assertSameTensors,
  type Check,
  copyState,
  stateOf,
} from './check.ts';

/** A learning rate that changes while training goes on. An engine that cannot know it says undefined. */
export function schedulingContract(check: Check): void {
  check('takes each step with the rate that was set last', async (modules) => {
    const [slower, same, twin] = [
      await modules.open(2),
      await modules.open(2),
      await modules.open(4),
    ];
    const rate = same.learningRate;
    if (rate === undefined) return;
    assert.ok(rate > 0 && Number.isFinite(rate), `the rate is ${rate}`);
    slower.learningRate = rate / 8;
    assert.equal(slower.learningRate, rate / 8);
    same.learningRate = rate;
    for (const module of [slower, same]) await modules.train(module, 2, 4);
    const expected = await stateOf(twin, 'model');
    assertSameTensors(await stateOf(same, 'model'), expected);
    assertOtherTensors(await stateOf(slower, 'model'), expected);
  });
  check('resumes with the rate that was set last', async (modules) => {
    const uninterrupted = await modules.open(2);
    const rate = uninterrupted.learningRate;
    if (rate === undefined) return;
    uninterrupted.learningRate = rate / 4;
    await modules.train(uninterrupted, 2, 4);
    const resumed = await modules.open();
    await copyState(uninterrupted, resumed);
    assert.equal(resumed.learningRate, rate / 4);
    for (const module of [uninterrupted, resumed]) await modules.train(module, 4, 6);
    await assertSameState(resumed, uninterrupted);
  });
  check('holds no tensor more after 20 changes of the rate', async (modules) => {
    const module = await modules.open(3);
    if (module.learningRate === undefined) return;
    const before = modules.liveTensors;
    for (let i = 1; i <= 20; i++) module.learningRate = i / 1000;
    assert.equal(modules.liveTensors, before);
  });
}
