import assert from 'node:assert/strict';
import type { LoadedTensor } from '../../engines/engine.ts';
import { assertSameTensors, type Check, stateOf } from './check.ts';

/** Loading a part: the weights alone, or what fits. */
export function loadingContract(check: Check): void {
  check('loads weights alone, out of a whole state', async (modules) => {
    const trained = await modules.open(5);
    await modules.accumulate(trained, 5, 1);
    const module = await modules.open(2);
    const optimizer = await stateOf(module, 'optimizer');
    const meta = module.meta();
    await modules.accumulate(module, 2, 0.5);
    const options = { strict: true, weightsOnly: true };
    const report = await module.load(await stateOf(trained), trained.meta(), options);
    assert.deepEqual(report, { missing: [], unexpected: [] });
    assertSameTensors(await stateOf(module, 'model'), await stateOf(trained, 'model'));
    assertSameTensors(await stateOf(module, 'optimizer'), optimizer);
    assert.deepEqual(module.meta(), meta);
    assert.deepEqual(await stateOf(module, 'gradient'), [], 'gradients of other weights are gone');
  });
  check('loads weights into a module that has no optimizer yet', async (modules) => {
    const weights = await stateOf(await modules.open(5), 'model');
    const module = modules.openBare();
    assertNames(
      (await stateOf(module, 'model')).map(({ name }) => name),
      weights.map(({ name }) => name),
    );
    await module.load(weights, {}, { strict: true, weightsOnly: true });
    await module.setupOptimizers();
    assertSameTensors(await stateOf(module, 'model'), weights);
  });
  check('loads what fits when not strict, and reports the rest', async (modules) => {
    const weights = await stateOf(await modules.open(5), 'model');
    const module = await modules.open();
    const [absent, misshapen, ...fitting] = weights as [LoadedTensor, LoadedTensor];
    const before = await stateOf(module, 'model');
    const surplus = { ...absent, name: 'surplus' };
    const wrong = { ...misshapen, shape: [...misshapen.shape, 1] };
    const options = { strict: false, weightsOnly: true };
    const report = await module.load([wrong, surplus, ...fitting], {}, options);
    assertNames(report.missing, [absent.name, misshapen.name]);
    assertNames(report.unexpected, ['surplus']);
    const kept = before.filter(({ name }) => name === absent.name || name === misshapen.name);
    assertSameTensors(await stateOf(module, 'model'), [...kept, ...fitting]);
  });
  check('reports nothing when everything fits', async (modules) => {
    const trained = await modules.open(5);
    const module = await modules.open();
    const options = { strict: false, weightsOnly: false };
    const report = await module.load(await stateOf(trained), trained.meta(), options);
    assert.deepEqual(report, { missing: [], unexpected: [] });
    assertSameTensors(await stateOf(module), await stateOf(trained));
  });
}

/** Asserts that there is one line for each name, in any order. */
function assertNames(lines: readonly string[], names: readonly string[]): void {
  assert.equal(lines.length, names.length, lines.join(', '));
  for (const name of names) {
    assert.ok(
      lines.some((line) => line.includes(name)),
      `${lines.join(', ')} tell of ${name}`,
    );
  }
}
