import assert from 'node:assert/strict';
import { tensorSizeBytes } from '../../format/dtype.ts';
import {
  assertOtherTensors,
  assertSameTensors,
  type Check,
  hold,
  labelOf,
  stateOf,
} from './check.ts';

/** What a state consists of, and what a snapshot of it keeps. */
export function capturingContract(check: Check): void {
  check('names its tensors uniquely, and the same in every instance', async (modules) => {
    const first = await modules.open(3);
    const second = await modules.open(3);
    for (const module of [first, second]) await modules.accumulate(module, 3, 1);
    const describeAll = (module: typeof first) =>
      [...module.state()].map(({ group, name, dtype, shape }) => ({ group, name, dtype, shape }));
    assert.deepEqual(describeAll(second), describeAll(first));
    const names = describeAll(first).map(({ group, name }) => `${group} ${name}`);
    assert.equal(new Set(names).size, names.length, 'no two of a group have one name');
    assert.ok(names.every((name) => !name.endsWith(' ')));
    const weights = describeAll(first).filter(({ group }) => group === 'model');
    assert.ok(weights.length >= 2, 'the module under test has two weights or more');
  });
  check('describes each tensor as its bytes are', async (modules) => {
    const module = await modules.open(1);
    for (const { handle, dtype, shape } of module.state()) {
      assert.ok(module.isTensor(handle));
      assert.deepEqual(module.describe(handle), { dtype, shape });
      const owned = module.retain(handle);
      const bytes = await module.read(owned);
      assert.equal(bytes.length, tensorSizeBytes(dtype, shape));
      const view = module.view?.(owned);
      if (view !== undefined) assert.deepEqual(view, bytes, 'a view shows what is read');
      module.release(owned);
    }
  });
  check('keeps what was captured at step 57 while training goes on', async (modules) => {
    const module = await modules.open(57);
    await modules.accumulate(module, 57, 0.5);
    const atOnce = await stateOf(module);
    const read = hold(module);
    await modules.accumulate(module, 58, 0.5);
    await module.optimizerStep(undefined);
    await modules.train(module, 59, 67);
    const later = await read();
    assertSameTensors(later, atOnce);
    assertOtherTensors(await stateOf(module, 'model'), later);
  });
  check(
    'calls unchanged, if it can tell, what has the values still that were captured',
    async (modules) => {
      const module = await modules.open(2);
      const captured: { label: string; owned: unknown; bytes: Uint8Array }[] = [];
      for (const entry of module.state()) {
        const owned = module.retain(entry.handle);
        const bytes = Uint8Array.from(await module.read(owned));
        captured.push({ label: labelOf(entry), owned, bytes });
        const isUnchanged = module.isUnchanged?.(entry.handle, owned) ?? true;
        assert.ok(isUnchanged, `${labelOf(entry)} has just been captured`);
      }
      await modules.train(module, 2, 3);
      const later = new Map(
        (await stateOf(module)).map((tensor) => [labelOf(tensor), tensor.bytes]),
      );
      const handles = new Map([...module.state()].map((entry) => [labelOf(entry), entry.handle]));
      for (const { label, owned, bytes } of captured) {
        if (module.isUnchanged?.(handles.get(label), owned) === true) {
          assert.deepEqual(later.get(label), bytes, `${label} has changed`);
        }
        module.release(owned);
      }
    },
  );
  check('keeps what was captured when the module is loaded over', async (modules) => {
    const module = await modules.open();
    const start = await stateOf(module);
    const meta = module.meta();
    await modules.train(module, 0, 3);
    const trained = await stateOf(module);
    const read = hold(module);
    await module.load(start, meta, { strict: true, weightsOnly: false });
    assertSameTensors(await read(), trained);
  });
  check('keeps what was captured when the module is disposed', async (modules) => {
    const before = modules.liveTensors;
    const module = await modules.open(3);
    await modules.accumulate(module, 3, 0.5);
    const atOnce = await stateOf(module);
    const read = hold(module);
    modules.dispose(module);
    assertSameTensors(await read(), atOnce);
    assert.equal(modules.liveTensors, before, 'dispose frees every tensor');
  });
  check('holds no tensor and no byte more after 200 saves', async (modules) => {
    const module = await modules.open(2);
    await stateOf(module);
    const before = { tensors: modules.liveTensors, bytes: modules.liveBytes };
    for (let save = 0; save < 200; save++) {
      const read = hold(module);
      await modules.train(module, save, save + 1);
      await read();
    }
    assert.deepEqual({ tensors: modules.liveTensors, bytes: modules.liveBytes }, before);
  });
}
