import { ModelCheckpoint, type ModelCheckpointOptions, Trainer } from '../../src/index.ts';
import type { ObservedHook } from '../../src/trainer/options.ts';
import { ArrayModule, type LossAndGradients } from '../support/array-module.ts';

/** Its loss gets better with every step, its `odd` metric worse; its weight counts the steps from `mark` on. */
class Counting extends ArrayModule {
  constructor(mark: number) {
    super({ weight: [mark] });
  }
  override configureOptimizers(): { learningRate: number } {
    return { learningRate: 1 };
  }
  override trainingStep(batch: number): LossAndGradients {
    this.log('loss', -(this.weight('weight')[0] ?? 0));
    this.log('odd', this.weight('weight')[0]);
    return { loss: batch, gradients: { weight: [-1] } };
  }
}

/** What a run has come to. */
export interface SmallRun {
  readonly trainer: Trainer;
  readonly checkpoint: ModelCheckpoint;
  readonly weight: number;
  readonly messages: readonly string[];
}

/** A run of four steps in two epochs into `dirpath`, or to `epochs`; the loss of step n is 1 - n. */
export async function smallRun(
  dirpath: string,
  options: ModelCheckpointOptions & {
    readonly ckptPath?: string;
    readonly epochs?: number;
    readonly mark?: number;
    /** Called when all of a hook is done and durable. */
    readonly onHook?: (hook: ObservedHook, checkpoint: ModelCheckpoint) => unknown;
  } = {},
): Promise<SmallRun> {
  const { ckptPath, epochs = 2, mark = 0, onHook, ...checkpointing } = options;
  const messages: string[] = [];
  const say = (message: string): void => void messages.push(message);
  const checkpoint = new ModelCheckpoint({
    dirpath,
    monitor: 'loss',
    everyNTrainSteps: 1,
    filename: '{step}',
    saveTopK: 2,
    ...checkpointing,
  });
  const module = new Counting(mark);
  const trainer = new Trainer({
    maxEpochs: epochs,
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    defaultRootDir: dirpath,
    callbacks: checkpoint,
    console: { info: say, warn: say },
    onHookCompleted: async (hook) => {
      await checkpoint.flush();
      await onHook?.(hook, checkpoint);
    },
  });
  await trainer.fit(module, {
    trainDataloaders: [1, 2],
    ...(ckptPath === undefined ? {} : { ckptPath }),
  });
  return { trainer, checkpoint, weight: module.weight('weight')[0] ?? Number.NaN, messages };
}
