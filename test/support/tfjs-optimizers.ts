import * as tf from '@tensorflow/tfjs-core';

/** One of each kind that TensorFlow.js has. */
export const optimizers: Record<string, () => tf.Optimizer> = {
  sgd: () => tf.train.sgd(0.01),
  momentum: () => tf.train.momentum(0.01, 0.9),
  adam: () => tf.train.adam(0.01),
  adamax: () => tf.train.adamax(0.01),
  adagrad: () => tf.train.adagrad(0.01),
  adadelta: () => tf.train.adadelta(0.01),
  rmsprop: () => tf.train.rmsprop(0.01),
  'centered rmsprop': () => tf.train.rmsprop(0.001, 0.9, 0.1, 1e-12, true),
};
