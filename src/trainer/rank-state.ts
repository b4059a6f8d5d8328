import type { EngineState, LoadedTensor, StateEntry } from '../engines/engine.ts';
import { HighwaterError, MisconfigurationError } from '../errors.ts';
import { tensorSizeBytes } from '../format/dtype.ts';
import type { JsonObject } from '../format/json.ts';
import type { Ranks } from './ranks.ts';

/**
 * Gives every rank the weights, the optimizer's state and the random keys of rank 0.
 *
 * @throws MisconfigurationError on every rank when their modules are not alike, naming the first difference.
 */
export async function copyFromZero(module: EngineState, ranks: Ranks): Promise<void> {
  // Gradients so far are rank 0's alone.
  const tensors = await copiesFromZero(module, ranks, ({ group }) => group !== 'gradient');
  const meta = (await ranks.broadcast(module.meta())) as JsonObject;
  if (!ranks.isZero) await module.load(tensors, meta, { strict: true, weightsOnly: false });
}

/** {@link copyFromZero} for the weights alone, of a module that may have no optimizer. */
export async function copyWeightsFromZero(module: EngineState, ranks: Ranks): Promise<void> {
  const tensors = await copiesFromZero(module, ranks, ({ group }) => group === 'model');
  if (!ranks.isZero) await module.load(tensors, {}, { strict: true, weightsOnly: true });
}

async function copiesFromZero(
  module: EngineState,
  ranks: Ranks,
  isWanted: (entry: StateEntry) => boolean,
): Promise<readonly LoadedTensor[]> {
  const entries = [...module.state()].filter(isWanted);
  const own = entries.map(describe);
  const expected = (await ranks.broadcast(own)) as readonly string[];
  await ranks.together(async () => {
    const at = expected.findIndex((tensor, i) => tensor !== own[i]);
    if (at < 0 && expected.length === own.length) return;
    const [here, there] = at < 0 ? [own[expected.length], undefined] : [own[at], expected[at]];
    throw new MisconfigurationError(
      `The modules of the ranks differ: rank 0 has ${there ?? 'no more'}, rank ${ranks.rank} has ` +
        `${here ?? 'no more'}. Build the same module on every rank.`,
    );
  });
  const tensors: LoadedTensor[] = [];
  for (const entry of entries) tensors.push(await copyOf(module, entry, ranks));
  return tensors;
}

async function copyOf(module: EngineState, entry: StateEntry, ranks: Ranks): Promise<LoadedTensor> {
  const { group, name, dtype, shape } = entry;
  const bytes = new Uint8Array(sizeBytesOf(entry));
  if (ranks.isZero) await readInto(bytes, module, entry);
  await ranks.strategy?.broadcastTensor(bytes);
  return { group, name, dtype, shape: [...shape], bytes };
}

/** Copies a tensor's values, as they are now. */
export async function readInto(
  target: Uint8Array,
  module: EngineState,
  { handle }: StateEntry,
): Promise<void> {
  const owned = module.retain(handle);
  target.set(await module.read(owned));
  module.release(owned);
}

/** How many bytes a tensor has. */
export function sizeBytesOf({ name, dtype, shape }: StateEntry): number {
  const sizeBytes = tensorSizeBytes(dtype, shape);
  if (sizeBytes !== undefined) return sizeBytes;
  throw new HighwaterError('STRATEGY_FAILED', `'${name}' has no size.`);
}

function describe({ group, name, dtype, shape }: StateEntry): string {
  return `${group} '${name}' ${dtype}[${shape.join(', ')}]`;
}
