import assert from 'node:assert/strict';
import { assertSameTensors, type Check, stateOf } from './check.ts';

/** What ranks ask of an engine; one that trains in one process only need not have it. */
export function averagingContract(check: Check): void {
  check('trains on gradients that are put in the place of its own', async (modules) => {
    const [given, own] = [await modules.open(2), await modules.open(2)];
    if (given.replaceGradients === undefined) return;
    await modules.accumulate(own, 3, 1);
    const gradients = await stateOf(own, 'gradient');
    await modules.accumulate(given, 2, 1);
    // Views into one array that is written to later, as ranks have it.
    const bucket = new Uint8Array(gradients.reduce((sum, { bytes }) => sum + bytes.length, 0));
    let at = 0;
    const views = gradients.map((tensor) => {
      bucket.set(tensor.bytes, at);
      at += tensor.bytes.length;
      return { ...tensor, bytes: bucket.subarray(at - tensor.bytes.length, at) };
    });
    await given.replaceGradients(views);
    bucket.fill(255);
    assertSameTensors(await stateOf(given, 'gradient'), gradients);
    await given.optimizerStep(undefined);
    await own.optimizerStep(undefined);
    assertSameTensors(
      await stateOf(given, 'model', 'optimizer'),
      await stateOf(own, 'model', 'optimizer'),
    );
  });
  check('drops its gradients when none are put in their place', async (modules) => {
    const module = await modules.open(2);
    if (module.replaceGradients === undefined) return;
    await modules.accumulate(module, 2, 1);
    const live = modules.liveTensors;
    await module.replaceGradients([]);
    assert.deepEqual(await stateOf(module, 'gradient'), []);
    assert.ok(modules.liveTensors <= live, 'the gradients stay behind');
  });
}
