import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import type { FormatRow } from './replay-format.ts';

/** A number as the traces spell it: JSON has no NaN and no infinities. */
export type TraceNumber = number | 'nan' | 'inf' | '-inf';

/** ModelCheckpoint's options, as Python spells them. */
export type TraceOptions = Readonly<Record<string, string | number | boolean | null>>;

export interface TraceTrainer {
  readonly max_epochs: number | null;
  readonly max_steps: number;
  readonly limit_train_batches: number;
  readonly limit_val_batches: number;
  readonly check_val_every_n_epoch: number | null;
  readonly val_check_interval: { readonly unit: 'fraction' | 'batches'; readonly value: number };
  readonly accumulate_grad_batches: number;
  readonly num_sanity_val_steps: number;
  readonly logger: {
    readonly save_dir: string;
    readonly name: string;
    readonly version: number | string;
  } | null;
  readonly fast_dev_run: boolean | number;
}

/** `null` among the values: do not log this time. */
type ScriptedValues = readonly (TraceNumber | null)[];

export interface TrainLog {
  readonly name: string;
  readonly on_step: boolean;
  readonly on_epoch: boolean;
  readonly values: ScriptedValues;
}

export interface ValLog {
  readonly name: string;
  readonly where: 'on_validation_epoch_end' | 'validation_step';
  readonly values: ScriptedValues;
}

export interface EpochLog {
  readonly name: string;
  readonly values: ScriptedValues;
}

/** What a module logs, and where it throws. */
export interface Script {
  readonly train_log: readonly TrainLog[];
  readonly val_log: readonly ValLog[];
  readonly epoch_log: readonly EpochLog[];
  readonly raise_at_train_call?: number | null;
  readonly raise_at_val_call?: number | null;
}

export type TraceCkptPath =
  | {
      readonly kind: 'attr';
      readonly phase: number;
      readonly callback: number;
      readonly attr: string;
    }
  | { readonly kind: 'last_or_best'; readonly phase: number; readonly callback: number }
  | { readonly kind: 'string'; readonly value: string };

export interface Phase extends Script {
  readonly trainer: TraceTrainer;
  readonly callbacks: readonly TraceOptions[];
  readonly ckpt_path: TraceCkptPath | null;
}

export type TraceHook =
  | 'train_start'
  | 'train_batch_end'
  | 'validation_end'
  | 'sanity_validation_end'
  | 'train_epoch_end'
  | 'train_end'
  | 'fit_end';

/** A callback's attributes; paths relative to the scenario's root, `''` when unset. */
export interface TraceCallback {
  readonly dirpath: string;
  readonly best_model_path: string;
  readonly best_model_score: TraceNumber | null;
  readonly kth_best_model_path: string;
  readonly kth_value: TraceNumber;
  readonly last_model_path: string;
  readonly current_score: TraceNumber | null;
  readonly best_k_models: readonly (readonly [string, TraceNumber])[];
}

export interface TraceEvent {
  readonly e: TraceHook;
  readonly epoch: number;
  readonly global_step: number;
  readonly batch_idx?: number;
  readonly metrics?: Readonly<Record<string, TraceNumber>>;
  readonly ops?: readonly (readonly [kind: string, path: string])[];
  /** Left out when they equal the previous event's. */
  readonly files?: readonly string[];
  readonly callbacks?: readonly TraceCallback[];
}

export interface TraceException {
  readonly where: 'init' | 'trainer' | 'fit';
  readonly cls: string;
  readonly message: string;
}

export interface Expected {
  readonly exception: TraceException | null;
  readonly ckpt_path: string | null;
  readonly events: readonly TraceEvent[];
}

/** One training scenario. */
export interface FitRow {
  readonly id: string;
  readonly tags: readonly string[];
  readonly phases: readonly Phase[];
  readonly expected: readonly Expected[];
}

/** One constructor call. */
export interface InitRow {
  readonly kwargs: TraceOptions;
  readonly resolved?: Readonly<Record<string, string | number | boolean | null>>;
  readonly exception?: { readonly cls: string; readonly message: string };
}

export interface TraceFile {
  readonly name: string;
  readonly fit: readonly FitRow[];
  readonly format: readonly FormatRow[];
  readonly init: readonly InitRow[];
}

/** The project's own copy. */
export const TRACES: string = join(import.meta.dirname, 'traces');

/** Every `.jsonl` and `.jsonl.gz` of a folder. What a row is, its fields say; the file's name is free. */
export async function readTraces(folder: string): Promise<readonly TraceFile[]> {
  const names = (await readdir(folder)).filter((name) => /\.jsonl(\.gz)?$/.test(name)).sort();
  return await Promise.all(
    names.map(async (name) => {
      const bytes = await readFile(join(folder, name));
      const text = (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8');
      const rows = text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line)]));
      return {
        name,
        fit: rows.filter((row) => 'phases' in row) as FitRow[],
        format: rows.filter((row) => 'fn' in row) as FormatRow[],
        init: rows.filter((row) => 'kwargs' in row) as InitRow[],
      };
    }),
  );
}

const LITERALS = new Map<unknown, number>([
  ['nan', Number.NaN],
  ['inf', Number.POSITIVE_INFINITY],
  ['-inf', Number.NEGATIVE_INFINITY],
]);

export function toNumber(value: TraceNumber): number {
  return LITERALS.get(value) ?? Number(value);
}

export function fromNumber(value: number): TraceNumber {
  for (const [literal, number] of LITERALS) {
    if (Object.is(number, value)) return literal as TraceNumber;
  }
  return value;
}
