import { CheckpointFileError } from '../../src/errors.ts';

/** The error that an action throws; it must throw one about a file. */
export function refusal(action: () => unknown): CheckpointFileError {
  try {
    action();
  } catch (error) {
    if (error instanceof CheckpointFileError) return error;
    throw error;
  }
  throw new Error('not refused');
}
