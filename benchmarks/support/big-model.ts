import * as tf from '@tensorflow/tfjs-core';
import { type LayersModel, layers, sequential } from '@tensorflow/tfjs-layers';
import { Trainer } from 'highwater';
import { TfjsModule } from 'highwater/tfjs';

export const TENSORS = 200;

/** The side of each of {@link TENSORS} square float32 tensors, for a state of about this many bytes. */
export function sideFor(stateBytes: number): number {
  return Math.floor(Math.sqrt(stateBytes / TENSORS / Float32Array.BYTES_PER_ELEMENT));
}

/** A model of {@link TENSORS} square float32 tensors. */
export function bigModel(side: number): LayersModel {
  const shape = { units: side, useBias: false, kernelInitializer: 'ones' } as const;
  return sequential({
    layers: Array.from({ length: TENSORS }, (_, i) =>
      layers.dense({ ...shape, ...(i === 0 ? { inputShape: [side] } : {}) }),
    ),
  });
}

/** {@link TENSORS} frozen tensors, and one number that is trained, so that a step costs nothing. */
export class BigModel extends TfjsModule<number> {
  readonly model: LayersModel;
  readonly trained = tf.variable(tf.scalar(1));

  constructor(side: number) {
    super();
    this.model = bigModel(side);
    this.model.trainable = false;
  }

  override trainingStep(): tf.Tensor {
    return tf.square(this.trained);
  }
  override configureOptimizers(): tf.Optimizer {
    return tf.train.sgd(1e-3);
  }
}

/** Writes the weights of such a model as a checkpoint. */
export async function writeBigCheckpoint(path: string, side: number): Promise<void> {
  const module = new BigModel(side);
  const trainer = new Trainer({
    logger: false,
    enableProgressBar: false,
    enableCheckpointing: false,
    maxEpochs: 1,
    callbacks: {
      onTrainBatchEnd: (running) => running.saveCheckpoint(path, { weightsOnly: true }),
    },
  });
  await trainer.fit(module, { trainDataloaders: [0] });
  module.dispose();
}
