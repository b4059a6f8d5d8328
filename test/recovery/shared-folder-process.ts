/** One of two processes that train into one folder: `tsx shared-folder-process.ts <folder> <mark>`. Prints what it kept. */
import { smallRun } from './small-run.ts';

const [folder = '', mark] = process.argv.slice(2);
const { checkpoint } = await smallRun(folder, {
  mark: Number(mark),
  epochs: 20,
  saveTopK: 3,
  saveLast: true,
  filename: 'same',
});
console.log(JSON.stringify([...checkpoint.bestKModels.keys(), checkpoint.lastModelPath]));
