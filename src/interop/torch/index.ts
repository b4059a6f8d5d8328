export type { Conversion } from '../conversion.ts';
export { exportTorch, type TorchExportOptions } from './export-torch.ts';
export {
  type ImportedWeight,
  importTorch,
  type TorchCheckpoint,
  type TorchImportOptions,
} from './import-torch.ts';
