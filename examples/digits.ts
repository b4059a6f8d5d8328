/**
 * Trains on 10,000 real handwritten digits, keeps the three best checkpoints and the last one, and goes on
 * from where it was when it is started again: `npm start`, `npm start -- --fresh --epochs 3 --out runs/other`.
 */
import { Mlp, useWasm } from './digits/mlp.ts';
import { trainDigits } from './digits/train.ts';

await useWasm();
await trainDigits({ command: 'npm start --', out: 'runs/digits', epochs: 5 }, () => new Mlp());
