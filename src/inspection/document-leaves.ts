import type { JsonObject, JsonValue } from '../format/json.ts';

/**
 * The values in a nested value, each with its dotted name: `optimizer.lr`. An array of objects is gone into
 * (`lrSchedulers.0.state`); other arrays and empty objects are values. A value that is no object has no leaves.
 */
export function documentLeaves(
  value: JsonValue,
): readonly (readonly [name: string, leaf: JsonValue])[] {
  const leaves: (readonly [string, JsonValue])[] = [];
  const visit = (object: JsonObject, prefix: string): void => {
    for (const [key, member] of Object.entries(object)) {
      if (member === undefined) continue;
      if (isBranch(member)) visit(member, `${prefix}${key}.`);
      else leaves.push([prefix + key, member]);
    }
  };
  // The format nests no deeper than 100.
  if (isBranch(value)) visit(value, '');
  return leaves;
}

function isBranch(value: JsonValue | undefined): value is JsonObject {
  if (typeof value !== 'object' || value === null) return false;
  if (Array.isArray(value)) return value.length > 0 && value.every(isBranch);
  return Object.getPrototypeOf(value) === Object.prototype && Object.keys(value).length > 0;
}
