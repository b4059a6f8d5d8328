/** One rank of `npm run bench -- ranks`: `allreduce <MB>…`, or `steps <count>`. Rank 0 prints what it measured. */
import { DataLoader, ModelCheckpoint, memoryFiles } from 'highwater';
import { mpiStrategy } from 'highwater/mpi';
import { useBackend } from './backend.ts';
import { byTrainer } from './by-trainer.ts';
import { BATCH, type Batch, makeBatches, PIXELS, TfjsMlp } from './digits-mlp.ts';
import { median } from './measure.ts';

const [, , what, ...given] = process.argv;
const strategy = mpiStrategy();

if (what === 'allreduce') {
  await strategy.setup();
  for (const size of given) {
    const values = new Float32Array(Number(size) * 262_144).fill(1);
    const seconds: number[] = [];
    for (let i = 0; i < 20; i++) {
      await strategy.barrier();
      const began = performance.now();
      await strategy.reduceGradients([values]);
      seconds.push((performance.now() - began) / 1000);
    }
    if (strategy.isGlobalZero) console.log(`${size} ${median(seconds.slice(5))}`);
  }
} else {
  await useBackend('wasm');
  const [pool] = makeBatches(1) as [Batch];
  const data = new DataLoader(
    {
      length: Number(given[0]) * BATCH,
      batch: (indices: Uint32Array): Batch => ({
        x: pool.x.slice(0, indices.length * PIXELS),
        y: pool.y.slice(0, indices.length),
      }),
    },
    { batchSize: BATCH },
  );
  await byTrainer(new TfjsMlp(), data);
  const plain = await byTrainer(new TfjsMlp(), data);
  const checkpoint = new ModelCheckpoint({ dirpath: '/c', everyNTrainSteps: 1, saveTopK: 0 });
  const deciding = await byTrainer(new TfjsMlp(), data, [checkpoint], memoryFiles());
  if (strategy.isGlobalZero) console.log(JSON.stringify({ plain, deciding }));
}
