/** Prints how many milliseconds the first load of a checkpoint takes in this process: its path is the argument. */
import { openCheckpoint } from 'highwater';

const [, , path = ''] = process.argv;
const began = performance.now();
const checkpoint = await openCheckpoint(path);
await checkpoint.loadWeights();
console.log(performance.now() - began);
