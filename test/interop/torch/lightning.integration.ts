import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openCheckpoint } from 'highwater';
import { exportTorch, importTorch } from 'highwater/torch';
import { afterAll, describe, expect, it } from 'vitest';
import { stateFromJson } from '../../../src/checkpoint/state.ts';
import { type PythonTorch, startPythonTorch } from '../../support/python-torch.ts';

const torch = await startPythonTorch();
const folder = await mkdtemp(join(tmpdir(), 'highwater-lightning-'));
afterAll(async () => {
  torch?.close();
  await rm(folder, { recursive: true });
});
const at = (name: string): string => join(folder, name);
const run = <T>(code: string, given: object = {}): Promise<T> =>
  (torch as PythonTorch).ask<T>({ do: 'run', code, ...given });

/** What `ModelCheckpoint` of Lightning stores, with tensors where it has them. */
const SAVE = `
module('pytorch_lightning.utilities.parsing', AttributeDict=type('AttributeDict', (dict,), {}))
from pytorch_lightning.utilities.parsing import AttributeDict
import datetime
net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
opt = torch.optim.Adam(net.parameters(), lr=0.01, betas=(0.8, 0.95))
schedule = torch.optim.lr_scheduler.MultiStepLR(opt, milestones=[3, 5, 5])
for i in range(4):
    opt.zero_grad(); net(torch.randn(8, 4)).square().mean().backward(); opt.step(); schedule.step()
checkpoint = {
    'epoch': 3, 'global_step': 4, 'pytorch-lightning_version': '2.2.5',
    'state_dict': net.state_dict(),
    'loops': {'fit_loop': {'state_dict': {}, 'epoch_progress': {'total': {'ready': 4}}}},
    'callbacks': {
        "ModelCheckpoint{'monitor': 'val_loss', 'mode': 'min', 'every_n_train_steps': 0, 'every_n_epochs': 1, "
        "'train_time_interval': datetime.timedelta(seconds=90)}": {
            'monitor': 'val_loss', 'best_model_score': torch.tensor(0.25), 'best_model_path': '/runs/c/epoch=1.ckpt',
            'current_score': torch.tensor(0.75, dtype=torch.float16), 'dirpath': '/runs/c',
            'best_k_models': {'/runs/c/epoch=1.ckpt': torch.tensor(0.25), '/runs/c/epoch=3.ckpt': torch.tensor(0.75)},
            'kth_best_model_path': '/runs/c/epoch=3.ckpt', 'kth_value': torch.tensor(0.75),
            'last_model_path': '/runs/c/last.ckpt'},
        'EarlyStopping{}': {'wait_count': 2, 'best_score': torch.tensor(0.25)},
    },
    'optimizer_states': [opt.state_dict()], 'lr_schedulers': [schedule.state_dict()],
    'hparams_name': 'kwargs',
    'hyper_parameters': AttributeDict({'width': 3, 'lr': 0.01, 'betas': (0.8, 0.95), 'path': pathlib.Path('/data/x'),
                                       'big': 2 ** 60 + 1, 'none': None, 'dtype': torch.float16, 'tags': {'a'}}),
}
torch.save(checkpoint, given['path'])
`;

describe.skipIf(torch === undefined)('a checkpoint of Lightning', () => {
  it('gives weights, epoch, step, hyper-parameters and the state of ModelCheckpoint', async () => {
    await run(SAVE, { path: at('lightning.ckpt') });
    const found = await importTorch(at('lightning.ckpt'));
    expect(found).toMatchObject({ savedBy: 'lightning', epoch: 3, globalStep: 4, leftOut: [] });
    expect(found.hyperParameters).toEqual({
      width: 3,
      lr: 0.01,
      betas: [0.8, 0.95],
      path: '/data/x',
      big: '1152921504606846977',
      none: null,
      dtype: 'torch.float16',
      tags: ['a'],
    });
    const callbacks = found.document.callbacks as Record<string, unknown>;
    const key =
      'ModelCheckpoint{"monitor":"val_loss","mode":"min","everyNTrainSteps":0,"everyNEpochs":1,' +
      '"trainTimeInterval":90000,"saveOnTrainEpochEnd":null}';
    expect(Object.keys(callbacks)).toEqual([key]);
    const state = stateFromJson(callbacks[key]);
    expect(state).toMatchObject({
      dirpath: '/runs/c',
      bestModelPath: '/runs/c/epoch=1.ckpt',
      bestModelScore: 0.25,
      currentScore: 0.75,
      kthBestModelPath: '/runs/c/epoch=3.ckpt',
      kthValue: 0.75,
      lastModelPath: '/runs/c/last.ckpt',
    });
    expect([...state.bestKModels]).toEqual([
      ['/runs/c/epoch=1.ckpt', 0.25],
      ['/runs/c/epoch=3.ckpt', 0.75],
    ]);
  });

  it('gives back all of it: Python goes on training with the same bits', async () => {
    await (await importTorch(at('lightning.ckpt'))).save(at('imported.ckpt'));
    const opened = await openCheckpoint(at('imported.ckpt'));
    expect(opened.document).toMatchObject({ kind: 'weights', epoch: 3, globalStep: 4 });
    await opened.verify();
    await exportTorch(at('imported.ckpt'), at('back.ckpt'), { layout: 'lightning' });
    const [before, after] = await run<{ rates: number[]; scores: unknown; weights: string[] }[]>(
      `
def go_on(path):
    checkpoint = torch.load(path)
    net = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    net.load_state_dict(checkpoint['state_dict'])
    opt = torch.optim.Adam(net.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(opt, milestones=[3, 5, 5])
    opt.load_state_dict(checkpoint['optimizer_states'][0])
    schedule.load_state_dict(checkpoint['lr_schedulers'][0])
    torch.manual_seed(1)
    rates = []
    for i in range(5):
        opt.zero_grad(); net(torch.randn(8, 4)).square().mean().backward(); opt.step(); schedule.step()
        rates += schedule.get_last_lr()
    scores = [(str(score.dtype), score.item()) for callback in checkpoint['callbacks'].values()
              for score in [callback.get('best_score', callback.get('best_model_score'))]]
    weights = [bytes(p.detach().storage().untyped().tolist()).hex() for p in net.parameters()]
    return {'rates': rates, 'scores': scores, 'weights': weights}
result = [go_on(given['before']), go_on(given['after'])]`,
      { before: at('lightning.ckpt'), after: at('back.ckpt') },
    );
    expect(after).toEqual(before);
    // The milestone at 5 counts twice.
    expect(before?.rates.map((rate) => rate.toFixed(6))).toEqual(Array(5).fill('0.000010'));
    expect(before?.scores).toEqual([
      ['torch.float32', 0.25],
      ['torch.float32', 0.25],
    ]);
  });

  it('is read with weights_only=True where no number is a fraction, which PyTorch 1.13 cannot', async () => {
    await run(
      `torch.save({'epoch': 1, 'global_step': 2, 'pytorch-lightning_version': '2.2.5',
  'state_dict': {'w': torch.ones(2)}, 'hyper_parameters': {'width': 3, 'names': ['a', None, True]}}, given['path'])`,
      { path: at('whole.ckpt') },
    );
    await (await importTorch(at('whole.ckpt'))).save(at('whole-imported.ckpt'));
    await exportTorch(at('whole-imported.ckpt'), at('whole-back.ckpt'), { layout: 'lightning' });
    const found = await run(
      `
checkpoint = torch.load(given['path'], weights_only=True)
result = {**checkpoint, 'state_dict': digests(checkpoint['state_dict'])}`,
      { path: at('whole-back.ckpt') },
    );
    expect(found).toMatchObject({
      epoch: 1,
      global_step: 2,
      'pytorch-lightning_version': '2.2.5',
      hyper_parameters: { width: 3, names: ['a', null, true] },
    });
  });

  it('is what load_from_checkpoint reads: hyper-parameters as arguments, then the state dict', async () => {
    // What LightningModule.load_from_checkpoint does, from Lightning 2.6, lightning/pytorch/core/saving.py
    // (_load_from_checkpoint, _load_state); Lightning itself needs a newer PyTorch than Debian has.
    const found = await run(
      `
import inspect
class Net(torch.nn.Module):
    def __init__(self, width, lr, betas=(), **kwargs):
        super().__init__()
        self.given = {'width': width, 'lr': lr, 'betas': list(betas), 'others': sorted(kwargs)}
        self.net = torch.nn.Sequential(torch.nn.Linear(4, width), torch.nn.Tanh(), torch.nn.Linear(width, 1))
checkpoint = torch.load(given['path'])
version = tuple(map(int, checkpoint['pytorch-lightning_version'].split('.')))
needs_migration = version < (2, 0, 0)
arguments = {}
for key in ('hparams', 'module_arguments'):
    arguments.update(checkpoint.get(key, {}))
arguments.update(checkpoint['hyper_parameters'])
name = checkpoint.get('hparams_name')
assert name not in inspect.signature(Net.__init__).parameters or name == 'kwargs'
net = Net(**arguments)
keys = net.load_state_dict({'net.' + key: value for key, value in checkpoint['state_dict'].items()})
result = {'given': net.given, 'migration': needs_migration, 'keys': str(keys), 'epoch': checkpoint['epoch'],
          'step': checkpoint['global_step']}`,
      { path: at('back.ckpt') },
    );
    expect(found).toEqual({
      given: {
        width: 3,
        lr: 0.01,
        betas: [0.8, 0.95],
        others: ['big', 'dtype', 'none', 'path', 'tags'],
      },
      migration: false,
      keys: '<All keys matched successfully>',
      epoch: 3,
      step: 4,
    });
  });
});
