import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { CSVLogger, ModelCheckpoint, TensorBoardLogger, Trainer } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

/** TensorBoard's own reader: every point of a folder, and its hyper-parameters. */
const READ = `
import json, sys
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
events = EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
events.Reload()
# A point that was logged as a simple value is a tensor once TensorBoard has read it.
from tensorboard.util import tensor_util
points = {tag: [[e.step, float(tensor_util.make_ndarray(e.tensor_proto))] for e in events.Tensors(tag)]
          for tag in events.Tags()["tensors"] if not tag.startswith("_hparams_")}
points |= {tag: [[e.step, e.value] for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
hparams = {}
for content in events.summary_metadata and events.PluginTagToContent("hparams").values():
    data = plugin_data_pb2.HParamsPluginData.FromString(content)
    hparams |= {k: getattr(v, v.WhichOneof("kind")) for k, v in data.session_start_info.hparams.items()}
print(json.dumps({"points": points, "hparams": hparams}))
`;

interface Board {
  readonly points: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  readonly hparams: Readonly<Record<string, unknown>>;
}

/** `.ci/run` says which Python has TensorBoard; by hand it is the one on the path. */
async function read(folder: string): Promise<Board> {
  const python = process.env.HIGHWATER_TENSORBOARD_PYTHON ?? 'python3';
  const { stdout } = await promisify(execFile)(python, ['-c', READ, folder]);
  return JSON.parse(stdout) as Board;
}

class Model extends ArrayModule {
  constructor() {
    super({ weight: [0] });
    this.saveHyperparameters({ width: 3, name: 'm', nested: { on: true } });
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', batch + this.globalStep / 8);
    return { loss: batch, gradients: { weight: [batch] } };
  }
  override validationStep(batch: number): void {
    this.log('val/loss', batch * this.globalStep);
  }
}

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-board-'));
});
afterEach(() => rm(root, { recursive: true }));

async function train(version: string, stopAfter = Number.POSITIVE_INFINITY): Promise<void> {
  const controller = new AbortController();
  let hooks = 0;
  const trainer = new Trainer({
    maxEpochs: 3,
    defaultRootDir: root,
    logEveryNSteps: 1,
    enableProgressBar: false,
    enableModelSummary: false,
    console: { info: () => {}, warn: () => {} },
    callbacks: new ModelCheckpoint({ dirpath: join(root, 'c', version), saveLast: true }),
    logger: [
      new TensorBoardLogger({ saveDir: join(root, 'logs'), name: '', version }),
      new CSVLogger({ saveDir: join(root, 'logs'), name: '', version }),
    ],
    onHookCompleted: () => {
      hooks++;
      if (hooks === stopAfter) controller.abort();
    },
  });
  const data = { trainDataloaders: [1, 2, 3], valDataloaders: [1] };
  const { signal } = controller;
  await trainer.fit(new Model(), { ...data, ckptPath: 'last', signal }).catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
}

it('TensorBoard reads every point and the hyper-parameters', async () => {
  await train('whole');
  const { points, hparams } = await read(join(root, 'logs/whole'));
  expect(points.loss).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8].map((i) => [i, 1 + (i % 3) + i / 8]));
  expect(points['val/loss']).toEqual([
    [2, 3],
    [5, 6],
    [8, 9],
  ]);
  expect(points.epoch?.length).toBe(12);
  expect(hparams).toEqual({ width: 3, name: 'm', 'nested/on': true });
});

it('reads the same of a run that was interrupted again and again', async () => {
  await train('whole');
  for (const stopAfter of [4, 5, 7, 3, 6]) await train('stopped', stopAfter);
  await train('stopped');
  expect(await read(join(root, 'logs/stopped'))).toEqual(await read(join(root, 'logs/whole')));
});
