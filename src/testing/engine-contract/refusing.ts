import assert from 'node:assert/strict';
import type { LoadedTensor } from '../../engines/engine.ts';
import { CheckpointMismatchError } from '../../errors.ts';
import { assertSameTensors, type Check, EXACTLY, type Modules, stateOf } from './check.ts';

/** A state that does not fit is refused as a whole. */
export function refusingContract(check: Check): void {
  check('refuses what does not fit as a whole, with every line', async (modules) => {
    await refuses(modules, (tensors) => {
      const [absent, misshapen] = ofGroup(tensors, 'model');
      const changed = tensors.filter((tensor) => tensor !== absent && tensor !== misshapen);
      const surplus = { ...absent!, name: 'surplus' };
      changed.push(surplus, { ...misshapen!, shape: [...misshapen!.shape, 1] });
      return { changed, blamed: [absent!.name, misshapen!.name, 'surplus'] };
    });
  });
  check('refuses a weight of another dtype, if the bytes are as many', async (modules) => {
    await refuses(modules, (tensors) => {
      const [weight] = ofGroup(tensors, 'model');
      const dtype = weight!.dtype === 'F32' ? 'I32' : 'F32';
      const changed = tensors.map((each) => (each === weight ? { ...each, dtype } : each));
      return { changed: changed as LoadedTensor[], blamed: [weight!.name] };
    });
  });
  for (const group of ['optimizer', 'gradient', 'rng'] as const) {
    check(`refuses a tensor of group ${group} that does not fit`, async (modules) => {
      await refuses(modules, (tensors) => {
        const [wrong] = ofGroup(tensors, group);
        // Plain gradient descent keeps no tensors, and not every engine random numbers of its own.
        if (wrong === undefined) return undefined;
        const shape = [...wrong.shape, 1];
        const changed = tensors.map((each) => (each === wrong ? { ...each, shape } : each));
        return { changed, blamed: [wrong.name] };
      });
    });
    check(`refuses a tensor of group ${group} that it has no place for`, async (modules) => {
      await refuses(modules, (tensors) => {
        const surplus = { ...ofGroup(tensors, 'model')[0]!, group, name: 'surplus' };
        return { changed: [...tensors, surplus], blamed: ['surplus'] };
      });
    });
  }
}

type Damage = (
  tensors: readonly LoadedTensor[],
) => { readonly changed: LoadedTensor[]; readonly blamed: readonly string[] } | undefined;

/** Asserts that a trained module keeps its state when it is offered a damaged one. */
async function refuses(modules: Modules, damage: Damage): Promise<void> {
  const other = await modules.open(5);
  await modules.accumulate(other, 5, 0.5);
  const damaged = damage(await stateOf(other));
  if (damaged === undefined) return;
  const module = await modules.open(2);
  await modules.accumulate(module, 2, 0.5);
  const before = { tensors: await stateOf(module), meta: module.meta(), live: modules.liveTensors };
  await assert.rejects(
    async () => await module.load(damaged.changed, other.meta(), EXACTLY),
    (error) => isAbout(error, damaged.blamed),
  );
  assertSameTensors(await stateOf(module), before.tensors);
  assert.deepEqual(module.meta(), before.meta);
  assert.equal(modules.liveTensors, before.live);
}

function isAbout(error: unknown, names: readonly string[]): true {
  assert.ok(error instanceof CheckpointMismatchError, `not a mismatch: ${String(error)}`);
  const { mismatches, message } = error;
  assert.equal(mismatches.length, names.length, message);
  for (const name of names) {
    const line = mismatches.find((each) => each.includes(name));
    assert.ok(line !== undefined, `no line tells of ${name}: ${message}`);
    assert.equal(message.split(line).length, 2, `the message has the line once: ${message}`);
  }
  return true;
}

function ofGroup(tensors: readonly LoadedTensor[], group: LoadedTensor['group']): LoadedTensor[] {
  return tensors.filter((tensor) => tensor.group === group);
}
