import type { Conversion } from '../interop/index.ts';
import { type Arguments, Misuse, type Option } from './command.ts';

type ConversionOptions = {
  readonly rename: Option & { readonly type: 'string' };
  readonly axes: Option & { readonly type: 'string' };
  readonly drop: Option & { readonly type: 'string' };
  readonly force: Option & { readonly type: 'boolean' };
};

/** How weights are converted, for the commands that move them from one library to another. */
export const CONVERSION: ConversionOptions = {
  rename: {
    type: 'string',
    value: 'OLD=NEW,…',
    description: "new names; * stands for any text: 'fc*.weight=fc*.kernel'",
  },
  axes: {
    type: 'string',
    value: 'NAME=ORDER,…',
    description: "new orders of dimensions: 'fc*.weight=OI->IO,conv*.weight=OIHW->HWIO'",
  },
  drop: {
    type: 'string',
    value: 'NAME,…',
    description: "weights to leave out: '*.num_batches_tracked'",
  },
  force: { type: 'boolean', short: 'f', description: 'replace what has the name' },
};

/** @throws Misuse for a pair without `=`. */
export function conversionOf({
  rename,
  axes,
  drop,
}: Arguments<ConversionOptions>['values']): Conversion {
  return {
    ...(rename !== undefined && { rename: pairsOf('rename', rename) }),
    ...(axes !== undefined && { axes: pairsOf('axes', axes) }),
    ...(drop !== undefined && { drop: itemsOf(drop) }),
  };
}

/** Says of a name that is taken how it can be written over all the same. */
export function sayForce(error: Error & { readonly code?: unknown }): never {
  if (error.code !== 'STORAGE_CONFLICT') throw error;
  throw new Misuse(`${error.message} --force replaces it.`);
}

/** The items of a list with commas. */
export function itemsOf(list: string): readonly string[] {
  return list
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');
}

function pairsOf(option: string, list: string): Record<string, string> {
  return Object.fromEntries(
    itemsOf(list).map((item) => {
      const [, key, value] = /^([^=]+)=(.+)$/s.exec(item) ?? [];
      if (key !== undefined && value !== undefined) return [key, value];
      throw new Misuse(`--${option} has '${item}', but each of its items is OLD=NEW.`);
    }),
  );
}
