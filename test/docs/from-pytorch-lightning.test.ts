import { readFileSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  type Callback,
  CSVLogger,
  type JsonValue,
  ModelCheckpoint,
  type Trainer,
  type TrainerOptions,
} from '../../src/index.ts';
import {
  type HookCall,
  quietTrainer,
  RecordedModule,
  recordedCallback,
  SHARED_HOOKS,
} from '../support/recorded-hooks.ts';

// The page ------------------------------------------------------------------------------------------

interface Row {
  readonly section: string;
  readonly lightning: string;
  readonly here: string;
  readonly verdict: string;
  readonly how: string;
}

const rows: readonly Row[] = readFileSync('docs/from-pytorch-lightning.md', 'utf8')
  .split(/^## /m)
  .slice(1)
  .flatMap((part) => {
    const [section = '', ...lines] = part.split('\n');
    return lines
      .filter((line) => line.startsWith('| `'))
      .map((line) => {
        const [lightning = '', here = '', verdict = '', how = ''] = line
          .slice(1, -1)
          .split('|')
          .map((cell) => cell.trim().replace(/^`|`$/g, ''));
        return { section, lightning, here, verdict, how };
      });
  });

const snake = (camel: string): string => camel.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`);
const sharedHooks = [
  ...SHARED_HOOKS.map(snake),
  ...['on_before_backward', 'on_before_zero_grad', 'on_save_checkpoint', 'on_load_checkpoint'],
];

/** The names of PyTorch Lightning 2.6: `Trainer.__init__`, `core/hooks.py`, `callbacks/callback.py`, `callbacks/__init__.py`. */
const names: Readonly<Record<string, readonly string[]>> = {
  'Trainer arguments':
    `accelerator strategy devices num_nodes precision logger callbacks fast_dev_run
    max_epochs min_epochs max_steps min_steps max_time limit_train_batches limit_val_batches
    limit_test_batches limit_predict_batches overfit_batches val_check_interval check_val_every_n_epoch
    num_sanity_val_steps log_every_n_steps enable_checkpointing enable_progress_bar enable_model_summary
    accumulate_grad_batches gradient_clip_val gradient_clip_algorithm deterministic benchmark inference_mode
    use_distributed_sampler profiler detect_anomaly barebones plugins sync_batchnorm
    reload_dataloaders_every_n_epochs default_root_dir enable_autolog_hparams model_registry`.split(
      /\s+/,
    ),
  'Module hooks': [
    ...sharedHooks,
    ...`on_validation_model_eval on_validation_model_train on_validation_model_zero_grad on_test_model_eval
      on_test_model_train on_predict_model_eval`.split(/\s+/),
  ],
  'Callback hooks': [
    ...sharedHooks,
    ...`setup teardown on_sanity_check_start on_sanity_check_end on_exception state_dict load_state_dict
      state_key`.split(/\s+/),
  ],
  Callbacks:
    `BackboneFinetuning BaseFinetuning BasePredictionWriter BatchSizeFinder Callback Checkpoint
    DeviceStatsMonitor EarlyStopping EMAWeightAveraging GradientAccumulationScheduler LambdaCallback
    LearningRateFinder LearningRateMonitor ModelCheckpoint ModelPruning ModelSummary OnExceptionCheckpoint
    ProgressBar RichModelSummary RichProgressBar StochasticWeightAveraging SpikeDetection ThroughputMonitor
    Timer TQDMProgressBar WeightAveraging`.split(/\s+/),
};

describe('the page', () => {
  it.each(Object.entries(names))('lists all %s, each once', (section, expected) => {
    const listed = rows.filter((row) => row.section === section).map((row) => row.lightning);
    expect([...listed].sort()).toEqual([...expected].sort());
  });

  it('says of each whether it is the same, how it differs, or why it is absent', () => {
    for (const { lightning, here, verdict, how } of rows) {
      expect(['same', 'different', 'absent'], lightning).toContain(verdict);
      if (verdict !== 'same') expect(how, lightning).not.toBe('');
      if (verdict !== 'absent') expect(here, lightning).not.toBe('');
      const isHook = /^[a-z_]+$/.test(lightning) && verdict === 'same';
      if (isHook) expect(snake(here), lightning).toBe(lightning);
    }
  });
});

// What "same" means ------------------------------------------------------------------------------

let root: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'highwater-lightning-'));
});
afterEach(() => rm(root, { recursive: true }));

interface Fitted {
  readonly trainer: Trainer;
  readonly module: RecordedModule;
  readonly calls: readonly HookCall[];
  count(name: string): number;
  first(name: string): readonly unknown[] | undefined;
}

/** Fits on the batches 1, 2, 3, with validation on 4, and notes what was called. */
async function fit(
  options: TrainerOptions = {},
  members: object = {},
  hooks?: readonly string[],
): Promise<Fitted> {
  const calls: HookCall[] = [];
  const module = Object.assign(new RecordedModule(calls, hooks), members);
  const trainer = quietTrainer({ maxEpochs: 1, ...options });
  await trainer.fit(module, { trainDataloaders: [1, 2, 3], valDataloaders: [4] });
  return {
    trainer,
    module,
    calls,
    count: (name) => calls.filter((call) => call.name === name).length,
    first: (name) => calls.find((call) => call.name === name)?.args,
  };
}

const steps = async (options: TrainerOptions): Promise<number> =>
  (await fit(options)).trainer.globalStep;

/** Asks for the end of training at once. */
const impatient = {
  onTrainStart(this: RecordedModule): void {
    this.trainer.shouldStop = true;
  },
};

type Check = () => unknown;

/** A hook of fit or of an evaluation: that it is called, how often, and with what. */
function hookCheck(who: 'module' | 'callback', lightning: string): Check {
  const hook = lightning.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
  const batchArgs: Record<string, readonly unknown[]> = {
    onTrainBatchStart: [1, 0],
    onTrainBatchEnd: [{ loss: 1 }, 1, 0],
    onValidationBatchStart: [4, 0, 0],
    onValidationBatchEnd: [40, 4, 0, 0],
    onTestBatchStart: [4, 0, 0],
    onTestBatchEnd: [40, 4, 0, 0],
    onPredictBatchStart: [4, 0, 0],
    onPredictBatchEnd: [40, 4, 0, 0],
  };
  return async () => {
    const calls: HookCall[] = [];
    const module = new RecordedModule(calls, who === 'module' ? undefined : []);
    const callbacks = who === 'callback' ? recordedCallback(calls) : [];
    const trainer = quietTrainer({ maxEpochs: 2, numSanityValSteps: 1, callbacks });
    await trainer.fit(module, { trainDataloaders: [1, 2, 3], valDataloaders: [4] });
    await trainer.test(module, { dataloaders: [4] });
    await trainer.predict(module, { dataloaders: [4] });
    const found = calls.filter(({ name }) => name === `${who}.${hook}`);
    const isBatch = /Batch|Backward|OptimizerStep/.test(hook);
    const ofTraining = isBatch ? 6 : /Epoch/.test(hook) ? 2 : 1;
    const isOnce = hook === 'onBeforeOptimizerSetup';
    const expected = isOnce
      ? 1
      : /Validation/.test(hook)
        ? 3
        : /Test|Predict/.test(hook)
          ? 1
          : ofTraining;
    expect(found).toHaveLength(expected);
    expect(found[0]?.args).toEqual(batchArgs[hook] ?? []);
  };
}

/** Saves with one instance of each, resumes with another. */
async function resumed(make: () => { members?: object; callback?: Callback }): Promise<void> {
  for (const maxEpochs of [1, 2]) {
    const { members = {}, callback = {} } = make();
    const checkpoint = new ModelCheckpoint({ dirpath: root, saveLast: true });
    const trainer = quietTrainer({
      maxEpochs,
      enableCheckpointing: true,
      callbacks: [callback, checkpoint],
    });
    const module = Object.assign(new RecordedModule([], []), members);
    await trainer.fit(module, { trainDataloaders: [1], ckptPath: 'last' });
  }
}

const stagesOf = async (who: 'module' | 'callback', hook: string): Promise<unknown> => {
  const calls: HookCall[] = [];
  const trainer = quietTrainer({ maxEpochs: 1, callbacks: recordedCallback(calls) });
  const module = new RecordedModule(calls);
  await trainer.fit(module, { trainDataloaders: [1] });
  for (const method of ['validate', 'test', 'predict'] as const) {
    await trainer[method](module, { dataloaders: [1] });
  }
  return calls.filter(({ name }) => name === `${who}.${hook}`).map(({ args }) => args[0]);
};
const allStages = ['fit', 'validate', 'test', 'predict'];

/** A callback whose state is a number of its own. */
function counting(start: number, log: JsonValue[]): Callback {
  return {
    stateKey: 'counting',
    stateDict: () => start,
    loadStateDict: (state) => void log.push(state),
  };
}

const checks: Readonly<Record<string, Readonly<Record<string, Check>>>> = {
  'Trainer arguments': {
    callbacks: async () => {
      const seen: number[] = [];
      const callback = (n: number): Callback => ({ onFitStart: () => void seen.push(n) });
      await fit({ callbacks: [callback(1), callback(2)] });
      await fit({ callbacks: callback(3) });
      expect(seen).toEqual([1, 2, 3]);
    },
    max_epochs: async () => {
      expect(await steps({ maxEpochs: 3 })).toBe(9);
      expect(await steps({ maxEpochs: 0 })).toBe(0);
      expect(await steps({ maxEpochs: -1, maxSteps: 20 })).toBe(20);
      expect(quietTrainer().settings.maxEpochs).toBe(1000);
      expect(quietTrainer({ maxSteps: 5 }).settings.maxEpochs).toBe(Number.POSITIVE_INFINITY);
    },
    min_epochs: async () => {
      expect((await fit({ maxEpochs: 5 }, impatient)).trainer.globalStep).toBe(0);
      expect((await fit({ maxEpochs: 5, minEpochs: 2 }, impatient)).trainer.globalStep).toBe(6);
    },
    max_steps: async () => {
      expect(await steps({ maxEpochs: 3, maxSteps: 4 })).toBe(4);
      expect(await steps({ maxEpochs: 2, maxSteps: -1 })).toBe(6);
    },
    min_steps: async () => {
      expect((await fit({ maxEpochs: 5, minSteps: 4 }, impatient)).trainer.globalStep).toBe(4);
    },
    check_val_every_n_epoch: async () => {
      const options = { maxEpochs: 4, numSanityValSteps: 0 };
      expect((await fit(options)).count('module.validationStep')).toBe(4);
      const second = await fit({ ...options, checkValEveryNEpoch: 2 });
      expect(second.count('module.validationStep')).toBe(2);
      const across = { checkValEveryNEpoch: null, valCheckInterval: 5 };
      expect((await fit({ ...options, ...across })).count('module.validationStep')).toBe(2);
    },
    num_sanity_val_steps: async () => {
      const of = async (options: TrainerOptions): Promise<number> => {
        const calls: HookCall[] = [];
        const data = { trainDataloaders: [1], valDataloaders: [4, 4, 4] };
        const trainer = quietTrainer({ maxEpochs: 1, limitTrainBatches: 1, ...options });
        await trainer.fit(new RecordedModule(calls, []), data);
        return calls.filter(({ name }) => name === 'module.validationStep').length - 3;
      };
      expect(await of({})).toBe(2);
      expect(await of({ numSanityValSteps: 0 })).toBe(0);
      expect(await of({ numSanityValSteps: -1 })).toBe(3);
    },
    log_every_n_steps: async () => {
      const at = async (logEveryNSteps?: number): Promise<number[]> => {
        const logged: number[] = [];
        const place = { saveDir: root, name: 'x', version: 0 };
        const logger = {
          ...place,
          logMetrics: (_: unknown, step: number) => void logged.push(step),
        };
        const module = new RecordedModule([], []);
        const trainer = quietTrainer({ maxEpochs: 1, logger, logEveryNSteps });
        await trainer.fit(module, { trainDataloaders: Array(120).fill(1) });
        return logged;
      };
      expect(await at()).toEqual([49, 99]);
      expect(await at(40)).toEqual([39, 79, 119]);
    },
    enable_checkpointing: async () => {
      const files = async (options: TrainerOptions): Promise<number> => {
        await fit({ defaultRootDir: root, ...options });
        return (await readdir(root, { recursive: true })).filter((f) => f.endsWith('.ckpt')).length;
      };
      expect(await files({ enableCheckpointing: false })).toBe(0);
      expect(await files({ enableCheckpointing: undefined })).toBe(1);
      const callbacks = new ModelCheckpoint();
      expect(() => quietTrainer({ enableCheckpointing: false, callbacks })).toThrow(/Remove one/);
    },
    enable_progress_bar: () => {
      const bars = (enableProgressBar?: boolean): number =>
        quietTrainer({ enableProgressBar }).callbacks.length;
      expect(bars(false)).toBe(0);
      expect(bars(true)).toBe(1);
      expect(bars()).toBe(1);
    },
    accumulate_grad_batches: async () => {
      expect(await steps({ accumulateGradBatches: 2 })).toBe(2);
      const one = await fit({ accumulateGradBatches: 3 });
      // The mean of the gradients 1, 2 and 3, times the rate of 1/8.
      expect(one.module.weight('weight')[0]).toBeCloseTo(-2 / 8, 6);
    },
    gradient_clip_val: async () => {
      const { module } = await fit({ maxSteps: 1, gradientClipVal: 0.5 });
      expect(Math.hypot(...module.weight('weight')) * 8).toBeCloseTo(0.5, 5);
    },
    gradient_clip_algorithm: async () => {
      const clip = { maxSteps: 1, gradientClipVal: 0.5 } as const;
      const { module } = await fit({ ...clip, gradientClipAlgorithm: 'value' });
      expect([...module.weight('weight')]).toEqual([-0.0625, 0.0625]);
      expect(() => quietTrainer({ gradientClipAlgorithm: 'x' as never })).toThrow(
        /gradientClipAlgo/,
      );
    },
    default_root_dir: async () => {
      await fit({ defaultRootDir: root, logger: true, enableCheckpointing: true });
      const files = await readdir(root, { recursive: true });
      expect(files.filter((file) => /\.(csv|ckpt)$/.test(file))).toHaveLength(2);
    },
    enable_autolog_hparams: async () => {
      const logged = async (enableAutologHparams?: boolean): Promise<boolean> => {
        const logger = new CSVLogger({ saveDir: root, name: 'h' });
        await fit({ logger, enableAutologHparams });
        return (await readdir(logger.logDir)).includes('hparams.yaml');
      };
      expect(await logged()).toBe(true);
      expect(await logged(false)).toBe(false);
    },
  },
  'Trainer methods': {
    validate: async () => {
      const { trainer, module } = await fit();
      expect(await trainer.validate(module, { dataloaders: [2, 4] })).toEqual([{ val: 3 }]);
    },
    test: async () => {
      const { trainer, module } = await fit();
      expect(await trainer.test(module, { dataloaders: [2, 4] })).toEqual([{ test: 3 }]);
    },
    predict: async () => {
      const { trainer, module } = await fit();
      expect(await trainer.predict(module, { dataloaders: [2, 4] })).toEqual([20, 40]);
    },
    current_epoch: async () => {
      const epochs: number[] = [];
      const hook = { onTrainEpochEnd: (t: Trainer) => void epochs.push(t.currentEpoch) };
      const { trainer } = await fit({ maxEpochs: 2, callbacks: hook });
      expect([...epochs, trainer.currentEpoch]).toEqual([0, 1, 2]);
    },
    global_step: async () => {
      expect(await steps({ maxEpochs: 2, accumulateGradBatches: 2 })).toBe(4);
    },
    should_stop: async () => {
      const stop = {
        onTrainBatchEnd: (trainer: Trainer) => {
          trainer.shouldStop = true;
        },
      };
      expect(await steps({ maxEpochs: 5, callbacks: stop })).toBe(1);
    },
  },
  'Module methods': {
    validation_step: async () => {
      expect((await fit()).first('module.validationStep')).toEqual([4, 0, 0]);
    },
    test_step: async () => {
      const { trainer, module, first } = await fit();
      await trainer.test(module, { dataloaders: [2] });
      expect(first('module.testStep')).toEqual([2, 0, 0]);
    },
    predict_step: async () => {
      const { trainer, module, first } = await fit();
      await trainer.predict(module, { dataloaders: [2] });
      expect(first('module.predictStep')).toEqual([2, 0, 0]);
    },
    configure_callbacks: async () => {
      const seen: string[] = [];
      const own = { onFitStart: () => void seen.push('module') };
      const callbacks = { onFitStart: () => void seen.push('trainer') };
      await fit({ callbacks }, { configureCallbacks: () => [own] });
      expect(seen).toEqual(['trainer', 'module']);
    },
    hparams: async () => {
      const { module } = await fit();
      module.saveHyperparameters({ a: 1 });
      module.saveHyperparameters({ b: [2] });
      expect(module.hparams).toEqual({ a: 1, b: [2] });
    },
    prepare_data: async () => {
      const seen: string[] = [];
      await fit(
        {},
        { prepareData: () => void seen.push('prepare'), setup: () => void seen.push('setup') },
      );
      expect(seen).toEqual(['prepare', 'setup']);
    },
    setup: async () => expect(await stagesOf('module', 'setup')).toEqual(allStages),
    teardown: async () => expect(await stagesOf('module', 'teardown')).toEqual(allStages),
    train_dataloader: async () => {
      const calls: HookCall[] = [];
      const own = { trainDataloader: async () => [7, 8] };
      const module = Object.assign(new RecordedModule(calls, []), own);
      await quietTrainer({ maxEpochs: 1 }).fit(module);
      expect(calls.map(({ args }) => args)).toEqual([
        [7, 0],
        [8, 1],
      ]);
    },
    val_dataloader: async () => {
      const module = Object.assign(new RecordedModule([], []), { valDataloader: () => [9] });
      expect(await quietTrainer().validate(module)).toEqual([{ val: 9 }]);
    },
    test_dataloader: async () => {
      const module = Object.assign(new RecordedModule([], []), { testDataloader: () => [9] });
      expect(await quietTrainer().test(module)).toEqual([{ test: 9 }]);
    },
    predict_dataloader: async () => {
      const module = Object.assign(new RecordedModule([], []), { predictDataloader: () => [9] });
      expect(await quietTrainer().predict(module)).toEqual([90]);
    },
  },
  'Module hooks': {
    on_save_checkpoint: () => checkpointHooks('module'),
    on_load_checkpoint: () => checkpointHooks('module'),
  },
  'Callback hooks': {
    setup: async () => expect(await stagesOf('callback', 'setup')).toEqual(allStages),
    teardown: async () => expect(await stagesOf('callback', 'teardown')).toEqual(allStages),
    on_sanity_check_start: () => sanityCheck('onSanityCheckStart'),
    on_sanity_check_end: () => sanityCheck('onSanityCheckEnd'),
    on_exception: async () => {
      const seen: unknown[] = [];
      const callbacks: Callback = { onException: (_t, _m, error) => void seen.push(error) };
      const failing = [
        ...['prepareData', 'setup', 'configureOptimizers', 'onBeforeOptimizerSetup', 'onFitStart'],
        ...['onTrainStart', 'trainingStep', 'validationStep', 'onTrainEpochEnd', 'onFitEnd'],
      ];
      for (const hook of failing) {
        const broken = (): void => {
          throw new RangeError(hook);
        };
        const failed = await fit({ callbacks }, { [hook]: broken }).catch(
          (error: unknown) => error,
        );
        expect(failed).toMatchObject({ code: 'HOOK_FAILED', cause: { message: hook } });
        expect(seen.splice(0), hook).toEqual([failed]);
      }
      const module = Object.assign(new RecordedModule([], []), {
        setup: (): void => {
          throw new RangeError('setup');
        },
      });
      const asked = quietTrainer({ callbacks }).validate(module, { dataloaders: [1] });
      await expect(asked).rejects.toThrow('setup');
      expect(seen).toHaveLength(1);
    },
    on_save_checkpoint: () => checkpointHooks('callback'),
    on_load_checkpoint: () => checkpointHooks('callback'),
    state_dict: () => callbackState(),
    load_state_dict: () => callbackState(),
    state_key: () => callbackState(),
  },
  Callbacks: {
    Callback: async () => {
      const calls: HookCall[] = [];
      class Own implements Callback {
        onTrainBatchEnd(trainer: Trainer, module: unknown, ...args: unknown[]): void {
          calls.push({ name: `${trainer.globalStep}`, args: [module, ...args] });
        }
      }
      const { module } = await fit({ callbacks: new Own() });
      expect(calls[2]).toEqual({ name: '3', args: [module, { loss: 3 }, 3, 2] });
    },
  },
};

/** What `onSaveCheckpoint` adds, `onLoadCheckpoint` reads, tensors included. */
async function checkpointHooks(who: 'module' | 'callback'): Promise<void> {
  const seen: unknown[] = [];
  const save = (checkpoint: Record<string, unknown>): void => {
    checkpoint.own = { note: 'x', values: Float32Array.of(1, 2) };
  };
  const load = (checkpoint: Record<string, unknown>): void => void seen.push(checkpoint.own);
  await resumed(() =>
    who === 'module'
      ? { members: { onSaveCheckpoint: save, onLoadCheckpoint: load } }
      : {
          callback: {
            onSaveCheckpoint: (_t, _m, checkpoint) => save(checkpoint),
            onLoadCheckpoint: (_t, _m, checkpoint) => load(checkpoint),
          },
        },
  );
  expect(seen).toEqual([{ note: 'x', values: Float32Array.of(1, 2) }]);
}

async function callbackState(): Promise<void> {
  const loaded: JsonValue[] = [];
  let made = 0;
  await resumed(() => ({ callback: counting(++made, loaded) }));
  expect(loaded).toEqual([1]);
}

async function sanityCheck(hook: 'onSanityCheckStart' | 'onSanityCheckEnd'): Promise<void> {
  const calls: HookCall[] = [];
  await fit({ callbacks: recordedCallback(calls) });
  expect(calls.filter(({ name }) => name === `callback.${hook}`)).toHaveLength(1);
}

const same = rows.filter(({ verdict }) => verdict === 'same');
const isShared = (name: string): boolean => SHARED_HOOKS.map(snake).includes(name);
const checkOf = ({ section, lightning }: Row): Check | undefined => {
  const own = checks[section]?.[lightning];
  if (own !== undefined || !isShared(lightning)) return own;
  if (section === 'Module hooks') return hookCheck('module', lightning);
  return section === 'Callback hooks' ? hookCheck('callback', lightning) : undefined;
};

describe('a row that says "same" is true', () => {
  it.each(same.map((row) => [row.section, row.lightning, row] as const))(
    '%s: %s',
    async (_section, _name, row) => {
      const check = checkOf(row);
      expect(check, `'${row.lightning}' says "same", and nothing here shows it`).toBeDefined();
      await check?.();
    },
  );

  it('and every check belongs to a row that is there, a few of them to one that differs elsewhere', () => {
    for (const [section, of] of Object.entries(checks)) {
      for (const name of Object.keys(of)) {
        const row = rows.find((each) => each.section === section && each.lightning === name);
        expect(['same', 'different'], `${section}: ${name}`).toContain(row?.verdict);
      }
    }
  });
});
