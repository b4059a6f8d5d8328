import '@tensorflow/tfjs-backend-cpu';
import * as tf from '@tensorflow/tfjs-core';
import * as tfl from '@tensorflow/tfjs-layers';
import { fromCheckpoint, modelCheckpoint, restore } from 'highwater/tfjs';

tf.enableProdMode(); // Keeps TensorFlow.js's banner out of the output.

const x = tf.randomUniform([256, 2], -1, 1, 'float32', 1);
const y = tf.sum(x, 1, true);
const model = tfl.sequential({
  layers: [
    tfl.layers.dense({ units: 16, activation: 'relu', inputShape: [2] }),
    tfl.layers.dense({ units: 1 }),
  ],
});
model.compile({ optimizer: tf.train.adam(0.01), loss: 'meanSquaredError' });

const checkpoint = modelCheckpoint({
  dirpath: 'runs/model-fit',
  monitor: 'val_loss',
  saveTopK: 3,
  saveLast: true,
});
const initialEpoch = await restore(model, 'last', checkpoint); // 0 when there is nothing yet.
await model.fit(x, y, {
  epochs: initialEpoch + 5,
  initialEpoch,
  validationSplit: 0.25,
  verbose: 0,
  callbacks: checkpoint,
});
console.log(checkpoint.bestModelPath, checkpoint.bestModelScore);

const best = await tfl.loadLayersModel(fromCheckpoint(checkpoint.bestModelPath));
console.log(best.evaluate(x, y).toString());
