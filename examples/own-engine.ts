import { DataLoader, ModelCheckpoint, Trainer } from 'highwater';
import { FloatModule } from './own-engine/float-module.ts';

/** Fits `y = 2x + 1`. */
class Line extends FloatModule<number[]> {
  constructor() {
    super();
    this.arrays.model.set('slope', Float32Array.of(0));
    this.arrays.model.set('offset', Float32Array.of(0));
  }
  #errors(xs: number[]): number[] {
    const [slope = 0, offset = 0] = [...this.arrays.model.values()].map((array) => array[0]);
    return xs.map((x) => slope * x + offset - (2 * x + 1));
  }
  override trainingStep(xs: number[]) {
    const errors = this.#errors(xs);
    const mean = (values: number[]) => values.reduce((sum, value) => sum + value, 0) / xs.length;
    const slope = 2 * mean(errors.map((error, i) => error * (xs[i] ?? 0)));
    const gradients = { slope: [slope], offset: [2 * mean(errors)] };
    return { loss: mean(errors.map((error) => error * error)), gradients };
  }
  override validationStep(xs: number[]): void {
    this.log('val_error', Math.max(...this.#errors(xs).map(Math.abs)));
  }
  override configureOptimizers() {
    return { learningRate: 0.02, momentum: 0.9 };
  }
}

const checkpoint = new ModelCheckpoint({ monitor: 'val_error', saveTopK: 3, saveLast: true });
const trainer = new Trainer({
  maxEpochs: 20,
  defaultRootDir: 'runs/own-engine',
  callbacks: checkpoint,
});
await trainer.fit(new Line(), {
  trainDataloaders: new DataLoader([-2, -1, 0, 1, 2, 3, 4, 5], { batchSize: 2, shuffle: true }),
  valDataloaders: [[0.5, 1.5, 2.5]],
  ckptPath: 'last',
});
console.log(checkpoint.bestModelPath, checkpoint.bestModelScore);
