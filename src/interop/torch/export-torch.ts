import { MisconfigurationError } from '../../errors.ts';
import type { StoredTensor } from '../../format/checkpoint-file.ts';
import { type JsonObject, type JsonValue, TensorRef } from '../../format/json.ts';
import { quote } from '../../format/json-scanner.ts';
import type { TensorSpec } from '../../format/tensor-layout.ts';
import { checkOptionNames, type OptionNames, refuseOption } from '../../option-check.ts';
import type { CheckpointReader } from '../../saving/checkpoint-reader.ts';
import { fastestChecksum } from '../../saving/checksum.ts';
import { writeFile } from '../../saving/write-file.ts';
import { contiguousStrides } from '../strided.ts';
import {
  bytesOf,
  EXPORT_NAMES,
  type ExportOptions,
  openExport,
  readingOf,
  type Weight,
} from '../weights.ts';
import { ZipWriter } from '../zip/writer.ts';
import { storageClassOf } from './dtypes.ts';
import { VERSION_KEY } from './lightning.ts';
import { type Picklable, PyCall, PyPersistent, pickle } from './pickle/pickler.ts';
import { PyGlobal, PyTuple } from './pickle/python-values.ts';

/** What {@link exportTorch} takes. */
export interface TorchExportOptions extends ExportOptions {
  /**
   * `'state_dict'` (the default): the weights, for `model.load_state_dict(torch.load(path))`. `'lightning'`: what
   * `LightningModule.load_from_checkpoint` reads, with epoch, step and hyper-parameters.
   */
  readonly layout?: 'state_dict' | 'lightning' | undefined;
}

const NAMES: OptionNames<TorchExportOptions> = {
  ...EXPORT_NAMES,
  layout: true,
};

/** The folder of all records in the archive: what torch.save calls it when it does not know the file's name. */
const FOLDER = 'archive';

const NOTHING = new Uint8Array();

/** Where the bytes of a record begin. Source: PyTorch, `caffe2/serialize/inline_container.cc`, `kFieldAlignment`. */
const ALIGNMENT = 64;

/**
 * The version of Lightning whose layout is written, which every later one reads without a migration. Source:
 * PyTorch Lightning 2.6, `utilities/migration/migration.py`.
 */
const LIGHTNING_VERSION = '2.0.0';

/**
 * Writes the weights of a checkpoint as PyTorch does, so that `torch.load(path, weights_only=True)` reads them.
 * The file is whole, durable and under its name when this resolves; at most 40 MB and the two largest weights are in memory at a time.
 *
 * A checkpoint that was imported from Lightning gives back what it held besides: optimizer states, schedules,
 * loops and callbacks. One that was trained here has none of these in PyTorch's form, so a training can be
 * continued in Python from its weights, not resumed.
 *
 * @param from a checkpoint of Highwater, or any safetensors file.
 * @throws CheckpointFileError (`CHECKPOINT_INVALID`) for what is damaged; MisconfigurationError
 * (`MISCONFIGURATION`) for a conversion that does not fit, and for a dtype that PyTorch before 2.3 does not have
 * (`U16`, `U32`, `U64`, 8-bit floats); StorageError (`STORAGE_CONFLICT`) when the name is taken.
 */
export async function exportTorch(
  from: string | URL,
  to: string | URL,
  options: TorchExportOptions = {},
): Promise<void> {
  checkOptionNames('exportTorch', options, NAMES);
  const { layout = 'state_dict' } = options;
  if (layout !== 'state_dict' && layout !== 'lightning') {
    refuseOption('exportTorch', 'layout', layout, "'state_dict' or 'lightning'");
  }
  const { reader, weights, storage, path, replace } = await openExport(from, to, options);
  const records: Weight[] = [];
  const tensors = { records, reader };
  const stateDict = new Map(weights.map((weight) => [weight.name, tensorOf(weight, records)]));
  const content = layout === 'state_dict' ? stateDict : lightningOf(stateDict, tensors);
  const data = pickle(content);
  const checksum = await fastestChecksum();
  await writeFile(storage, path, { replace }, async (writer) => {
    const archive = new ZipWriter(writer, ALIGNMENT, checksum);
    const text = (line: string): Uint8Array => new TextEncoder().encode(line);
    await archive.add(`${FOLDER}/data.pkl`, data);
    await archive.add(`${FOLDER}/byteorder`, text('little'));
    let key = 0;
    for await (const bytes of bytesOf(records)) {
      await archive.add(`${FOLDER}/data/${key++}`, NOTHING, bytes);
    }
    await archive.add(`${FOLDER}/version`, text('3\n'));
    await archive.finish();
  });
}

interface Tensors {
  readonly records: Weight[];
  readonly reader: CheckpointReader;
}

/** A tensor over a record of its own: `_rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict())`. */
function tensorOf(weight: Weight, records: Weight[]): Picklable {
  const { name, dtype, shape } = weight;
  const storageClass = storageClassOf(dtype);
  if (storageClass === undefined) {
    throw new MisconfigurationError(
      `The weight ${quote(name)} is ${dtype}, which PyTorch has only since 2.3: export to safetensors instead, ` +
        'which PyTorch reads too, or drop it.',
      { details: { name, dtype } },
    );
  }
  const key = String(records.length);
  records.push(weight);
  const storage = ['storage', new PyGlobal(storageClass), key, 'cpu', elementsOf(weight)];
  return new PyCall('torch._utils._rebuild_tensor_v2', [
    new PyPersistent(new PyTuple(storage)),
    0,
    new PyTuple([...shape]),
    new PyTuple(contiguousStrides(shape)),
    false,
    new PyCall('collections.OrderedDict', []),
  ]);
}

function elementsOf({ shape }: TensorSpec): number {
  return shape.reduce((product, size) => product * size, 1);
}

/** The members in which keys that are whole numbers were ints in Python: parameters by index, steps of schedules. */
const NUMBERED: ReadonlySet<string> = new Set(['optimizer_states', 'lr_schedulers']);

/** Source: PyTorch Lightning 2.6, `trainer/connectors/checkpoint_connector.py`, `dump_checkpoint`. */
function lightningOf(stateDict: Picklable, tensors: Tensors): Picklable {
  const document = tensors.reader.document ?? {};
  const imported = (document.imported ?? {}) as JsonObject;
  const isFromLightning = imported.from === 'lightning';
  const content = isFromLightning ? (imported.content as JsonObject) : {};
  const members: JsonObject = {
    epoch: document.epoch ?? 0,
    global_step: document.globalStep ?? 0,
    [VERSION_KEY]: LIGHTNING_VERSION,
    callbacks: {},
    optimizer_states: [],
    lr_schedulers: [],
    hparams_name: 'kwargs',
    ...content,
    hyper_parameters: document.hyperParameters ?? {},
  };
  const entries = Object.entries(members).map(
    ([key, value]) => [key, picklableOf(value ?? null, tensors, NUMBERED.has(key))] as const,
  );
  return new Map<string, Picklable>([['state_dict', stateDict], ...entries]);
}

/** @param hasNumberedKeys whether keys that are whole numbers become ints. */
function picklableOf(value: JsonValue, tensors: Tensors, hasNumberedKeys: boolean): Picklable {
  if (value instanceof TensorRef) return extraOf(value, tensors);
  if (Array.isArray(value)) {
    return value.map((item: JsonValue) => picklableOf(item, tensors, hasNumberedKeys));
  }
  if (typeof value !== 'object' || value === null) return value as Picklable;
  return new Map(
    Object.entries(value as JsonObject).map(([key, member]) => [
      hasNumberedKeys && /^(0|[1-9]\d{0,8})$/.test(key) ? Number(key) : key,
      picklableOf(member ?? null, tensors, hasNumberedKeys),
    ]),
  );
}

function extraOf({ name }: TensorRef, { records, reader }: Tensors): Picklable {
  const tensor = reader.index.tensors.find(
    (stored) => stored.group === 'extra' && stored.name === name,
  ) as StoredTensor;
  const { dtype, shape } = tensor;
  return tensorOf({ name, dtype, shape, ...readingOf(reader, tensor) }, records);
}
