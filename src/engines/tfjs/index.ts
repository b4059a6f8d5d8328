export {
  type FitCheckpoint,
  type FitCheckpointOptions,
  modelCheckpoint,
} from './layers-model/fit-checkpoint.ts';
export { fromCheckpoint, fromModelJson, toCheckpoint } from './layers-model/io-handlers.ts';
export { restore } from './layers-model/restore.ts';
export { TfjsModule } from './tfjs-module.ts';
