export type { Conversion } from './conversion.ts';
export { exportNpz } from './npz.ts';
export { exportSafetensors } from './safetensors.ts';
export { exportTfjs } from './tfjs.ts';
export type { ExportOptions } from './weights.ts';
