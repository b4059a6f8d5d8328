import type { JsonObject, JsonValue } from '../../format/json.ts';
import { Message } from './protobuf.ts';

// Source of the fields: TensorFlow 2, `event.proto` and `summary.proto`; TensorBoard 2, `plugins/hparams`.

/** What every event file begins with. `wallTime`: seconds since 1970, as everywhere here. */
export function versionEvent(wallTime: number): Uint8Array {
  return new Message().double(1, wallTime).bytes(3, 'brain.Event:2').encode();
}

/** Scalars of one step, as float32. */
export function scalarsEvent(
  wallTime: number,
  step: number,
  scalars: Readonly<Record<string, number>>,
): Uint8Array {
  const summary = new Message();
  for (const [name, value] of Object.entries(scalars)) {
    summary.bytes(1, new Message().bytes(1, name).float(2, value));
  }
  return eventOf(wallTime, step, summary);
}

/** The hyper-parameters of the run, for TensorBoard's HPARAMS page. Nested ones are named `a/b`. */
export function hparamsEvent(wallTime: number, hyperParameters: JsonObject): Uint8Array {
  const info = new Message();
  for (const [name, value] of flatten(hyperParameters)) {
    info.bytes(1, new Message().bytes(1, name).bytes(2, structValue(value)));
  }
  const content = new Message().bytes(3, info.double(5, wallTime));
  const plugin = new Message().bytes(1, 'hparams').bytes(2, content);
  const value = new Message().bytes(1, '_hparams_/session_start_info');
  return eventOf(
    wallTime,
    0,
    new Message().bytes(1, value.bytes(9, new Message().bytes(1, plugin))),
  );
}

function eventOf(wallTime: number, step: number, summary: Message): Uint8Array {
  return new Message().double(1, wallTime).integer(2, step).bytes(5, summary).encode();
}

/** A `google.protobuf.Value`. */
function structValue(value: JsonValue): Message {
  if (typeof value === 'number') return new Message().double(2, value);
  if (typeof value === 'boolean') return new Message().integer(4, Number(value));
  return new Message().bytes(3, typeof value === 'string' ? value : JSON.stringify(value));
}

function flatten(hyperParameters: JsonObject, prefix = ''): [name: string, value: JsonValue][] {
  return Object.entries(hyperParameters).flatMap(([name, value]): [string, JsonValue][] => {
    if (value === undefined) return [];
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value);
    return isObject
      ? flatten(value as JsonObject, `${prefix}${name}/`)
      : [[`${prefix}${name}`, value]];
  });
}
