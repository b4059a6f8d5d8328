import {
  type Callback,
  type DataSource,
  type Storage,
  Trainer,
  type TrainingModule,
} from 'highwater';

/** Milliseconds of one epoch over the batches through the Trainer, from its first step to its last. */
export async function byTrainer(
  module: TrainingModule,
  batches: DataSource,
  checkpoints: readonly Callback[] = [],
  storage?: Storage,
): Promise<number> {
  let began = 0;
  let ms = 0;
  const clock = {
    onTrainStart: () => {
      began = performance.now();
    },
    onTrainEnd: () => {
      ms = performance.now() - began;
    },
  };
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    enableModelSummary: false,
    enableCheckpointing: checkpoints.length > 0,
    maxEpochs: 1,
    storage,
    callbacks: [clock, ...checkpoints],
  });
  await trainer.fit(module, { trainDataloaders: batches });
  module.dispose();
  return ms;
}
