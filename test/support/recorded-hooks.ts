import type { Callback } from '../../src/index.ts';
import { Trainer, type TrainerOptions } from '../../src/index.ts';
import { ArrayModule, type LossAndGradients } from './array-module.ts';

const stages = ['Train', 'Validation', 'Test', 'Predict'] as const;
const perStage = ['Start', 'End', 'EpochStart', 'EpochEnd', 'BatchStart', 'BatchEnd'] as const;

/** Every `on…` hook that modules and callbacks share. */
export const SHARED_HOOKS: readonly string[] = [
  'onFitStart',
  'onFitEnd',
  ...stages.flatMap((stage) => perStage.map((when) => `on${stage}${when}`)),
  'onBeforeOptimizerSetup',
  'onAfterBackward',
  'onBeforeOptimizerStep',
];

/** One call of a hook, `module.…` or `callback.…`, with what it was given beside Trainer and module. */
export interface HookCall {
  readonly name: string;
  readonly args: readonly unknown[];
}

/** A module that notes its hooks and steps. */
export class RecordedModule extends ArrayModule<number> {
  readonly calls: HookCall[];

  constructor(
    calls: HookCall[],
    hooks: readonly string[] = [...SHARED_HOOKS, 'setup', 'teardown'],
  ) {
    super({ weight: [0, 0] });
    this.calls = calls;
    for (const hook of hooks) {
      Object.assign(this, { [hook]: (...args: unknown[]) => void this.note(hook, args) });
    }
  }

  note(name: string, args: readonly unknown[]): void {
    this.calls.push({ name: `module.${name}`, args });
  }
  override trainingStep(batch: number, batchIdx: number): LossAndGradients {
    this.note('trainingStep', [batch, batchIdx]);
    this.log('loss', batch);
    return { loss: batch, gradients: { weight: [batch, -batch] } };
  }
  override validationStep(...args: [number, number, number]): unknown {
    this.note('validationStep', args);
    this.log('val', args[0]);
    return args[0] * 10;
  }
  override testStep(...args: [number, number, number]): unknown {
    this.note('testStep', args);
    this.log('test', args[0]);
    return args[0] * 10;
  }
  override predictStep(...args: [number, number, number]): unknown {
    this.note('predictStep', args);
    return args[0] * 10;
  }
}

/** A callback that notes its hooks. */
export function recordedCallback(
  calls: HookCall[],
  hooks: readonly string[] = [
    ...SHARED_HOOKS,
    'setup',
    'teardown',
    'onSanityCheckStart',
    'onSanityCheckEnd',
    'onException',
  ],
): Callback {
  return Object.fromEntries(
    hooks.map((hook) => [
      hook,
      (_trainer: unknown, _module: unknown, ...args: unknown[]) =>
        void calls.push({ name: `callback.${hook}`, args }),
    ]),
  );
}

/** A Trainer that writes and prints nothing. */
export function quietTrainer(options: TrainerOptions = {}): Trainer {
  return new Trainer({
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    enableCheckpointing: false,
    console: { info: () => {}, warn: () => {} },
    ...options,
  });
}
