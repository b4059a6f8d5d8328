/** Goes on with a run in a process of its own, and prints what it has seen: `tsx resume-process.ts <JSON>`. */
import { enableProdMode } from '@tensorflow/tfjs-core';
import type { Configuration } from './configuration.ts';
import { recordedRun, type SavePoint } from './recorded-run.ts';

enableProdMode();
const { configuration, folder, from } = JSON.parse(process.argv[2] ?? '') as {
  readonly configuration: Configuration;
  readonly folder: string;
  readonly from: SavePoint;
};
const { events, end, warnings } = await recordedRun(configuration, {
  folder,
  copies: undefined,
  from,
});
process.stdout.write(JSON.stringify({ events, end, warnings }));
