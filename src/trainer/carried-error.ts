import { type ErrorCode, HighwaterError, MisconfigurationError } from '../errors.ts';
import { encodeJson, type JsonObject, type JsonValue } from '../format/json.ts';

/** How many causes of a cause are told. */
const MAX_CAUSES = 4;

/** An error as it is told to other ranks. */
export function errorToJson(error: unknown, causes: number = MAX_CAUSES): JsonObject {
  const { message, cause } = error instanceof Error ? error : { message: String(error) };
  const known = error instanceof HighwaterError ? error : undefined;
  return {
    message,
    code: known?.code,
    details: known === undefined ? undefined : sendable(known.details),
    cause: cause === undefined || causes === 0 ? undefined : errorToJson(cause, causes - 1),
  };
}

/** The error that another rank has told of: the same code, message and details. */
export function errorFromJson(told: JsonValue): Error {
  const { message, code, details, cause: toldCause } = told as JsonObject;
  const cause = toldCause === undefined ? undefined : errorFromJson(toldCause);
  const text = String(message);
  if (code === undefined) return new Error(text, { cause });
  const options = { cause, details: (details ?? {}) as JsonObject };
  if (code === 'MISCONFIGURATION') return new MisconfigurationError(text, options);
  return new HighwaterError(code as ErrorCode, text, options);
}

function sendable(details: object): JsonObject {
  try {
    encodeJson(details as JsonObject);
    return details as JsonObject;
  } catch {
    return {};
  }
}
