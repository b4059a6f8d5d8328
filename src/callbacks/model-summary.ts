import type { StateEntry } from '../engines/engine.ts';
import { tensorSizeBytes } from '../format/dtype.ts';
import { checkOptionNames, type OptionNames } from '../option-check.ts';
import { sizeText } from '../size-text.ts';
import type { Trainer } from '../trainer/trainer.ts';
import type { TrainingModule } from '../trainer/training-module.ts';
import type { Callback } from './callback.ts';

/** What `new ModelSummary(options)` takes. */
export interface ModelSummaryOptions {
  /** How deep layers are told apart, an integer of at least 1; -1: every weight by itself. Default 1. */
  readonly maxDepth?: number;
}

const NAMES: OptionNames<ModelSummaryOptions> = {
  maxDepth: true,
};

/**
 * Prints the module's layers when `fit` starts: the parameters of each, their sum, and the size of a
 * checkpoint. The Trainer adds one unless `enableModelSummary` is false or it is a `fastDevRun`.
 *
 * Source: PyTorch Lightning 2.6, `pytorch_lightning.callbacks.ModelSummary`.
 */
export class ModelSummary implements Callback {
  readonly #maxDepth: number;

  constructor(options: ModelSummaryOptions = {}) {
    checkOptionNames('ModelSummary', options, NAMES);
    this.#maxDepth = options.maxDepth ?? 1;
  }

  onFitStart(trainer: Trainer, module: TrainingModule): void {
    trainer.info(summarize([...module.state()], this.#maxDepth));
  }
}

/** The table, without a newline at its end. */
export function summarize(state: readonly StateEntry[], maxDepth: number): string {
  const weights = state.filter(({ group }) => group === 'model');
  const slots = state.filter(({ group }) => group === 'optimizer');
  const layers = new Map<string, number>();
  for (const { name, shape } of weights) {
    const layer = maxDepth === -1 ? name : name.split('.').slice(0, maxDepth).join('.');
    layers.set(layer, (layers.get(layer) ?? 0) + sizeOf(shape));
  }
  const total = [...layers.values()].reduce((sum, count) => sum + count, 0);
  const rows = [...layers, ['total', total] as const].map(([layer, count]) => ({
    layer,
    count: count.toLocaleString('en-US'),
  }));
  const layerWidth = Math.max(...rows.map(({ layer }) => layer.length), 'layer'.length);
  const countWidth = Math.max(...rows.map(({ count }) => count.length), 'parameters'.length);
  const line = (layer: string, count: string): string =>
    `${layer.padEnd(layerWidth)}  ${count.padStart(countWidth)}`;
  const rule = '-'.repeat(layerWidth + 2 + countWidth);
  const body = rows.map(({ layer, count }) => line(layer, count));
  const bytes = bytesOf(weights) + bytesOf(slots);
  // Many optimizers make a slot for each weight only when they first need it.
  const more = slots.length < weights.length ? ' before the first optimizer step' : '';
  return [
    line('layer', 'parameters'),
    rule,
    ...body.slice(0, -1),
    rule,
    body.at(-1),
    `A checkpoint holds ${sizeText(bytes)}${more}, its weights ${sizeText(bytesOf(weights))}.`,
  ].join('\n');
}

function sizeOf(shape: readonly number[]): number {
  return shape.reduce((product, size) => product * size, 1);
}

function bytesOf(entries: readonly StateEntry[]): number {
  return entries.reduce((sum, { dtype, shape }) => sum + (tensorSizeBytes(dtype, shape) ?? 0), 0);
}
