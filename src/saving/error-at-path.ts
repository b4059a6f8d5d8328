import { CheckpointFileError, StorageError } from '../errors.ts';

/**
 * The same error, its message naming the file and what it cannot be (`read as a checkpoint`): the formats
 * themselves know no paths.
 */
export function atPath(error: unknown, path: string, what: string): unknown {
  if (!(error instanceof CheckpointFileError) || error instanceof StorageError) return error;
  return new CheckpointFileError(`'${path}' cannot be ${what}: ${error.message}`, {
    code: error.code,
    byteOffset: error.byteOffset,
    details: { ...error.details, path },
    cause: error,
  });
}
