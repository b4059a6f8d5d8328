/**
 * Every error Highwater throws on purpose. Match on `code` (stable), never on the message.
 *
 * | code | class | meaning |
 * | --- | --- | --- |
 * | `MISCONFIGURATION` | {@link MisconfigurationError} | an option or a call that cannot be right; thrown before any effect |
 * | `CHECKPOINT_INVALID` | {@link CheckpointFileError} | a file that is not a whole checkpoint: truncated or damaged |
 * | `CHECKPOINT_FOREIGN` | {@link CheckpointFileError} | a file of another format, by its first bytes: a zip archive of PyTorch or Lightning |
 * | `CHECKPOINT_VERSION` | {@link CheckpointFileError} | written by a newer format than this version of Highwater reads |
 * | `CHECKPOINT_MISMATCH` | {@link CheckpointMismatchError} | a whole checkpoint that does not fit this module |
 * | `CHECKPOINT_NOT_FOUND` | {@link HighwaterError} | `ckptPath` names nothing |
 * | `STORAGE_*` | {@link StorageError} | a storage operation failed; `kind` says how |
 * | `SAVE_FAILED` | {@link HighwaterError} | a save behind training failed; `cause` says why |
 * | `HOOK_FAILED` | {@link HighwaterError} | a user hook threw; `cause` is what it threw |
 * | `STRATEGY_FAILED` | {@link HighwaterError} | the ranks could not work together: MPI failed, or they differ |
 */
export type ErrorCode =
  | 'MISCONFIGURATION'
  | CheckpointFileErrorCode
  | 'CHECKPOINT_MISMATCH'
  | 'CHECKPOINT_NOT_FOUND'
  | 'TENSOR_NOT_FOUND'
  | 'SAVE_FAILED'
  | 'HOOK_FAILED'
  | 'STRATEGY_FAILED'
  | `STORAGE_${Uppercase<StorageErrorKind>}`;

/** What is the matter with a file: see {@link ErrorCode}. */
export type CheckpointFileErrorCode =
  | 'CHECKPOINT_INVALID'
  | 'CHECKPOINT_FOREIGN'
  | 'CHECKPOINT_VERSION';

export type ErrorDetails = Readonly<Record<string, unknown>>;

export interface HighwaterErrorOptions {
  /** What the message was made from, for programs: the option, the value, the path, the byte. */
  readonly details?: ErrorDetails;
  readonly cause?: unknown;
}

/** The base of all errors that Highwater throws on purpose. */
export class HighwaterError extends Error {
  override readonly name: string = 'HighwaterError';
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: HighwaterErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** An option, or a call, that cannot be right. Thrown at the earliest moment, before any effect. */
export class MisconfigurationError extends HighwaterError {
  override readonly name: string = 'MisconfigurationError';

  constructor(message: string, options: HighwaterErrorOptions = {}) {
    super('MISCONFIGURATION', message, options);
  }
}

/**
 * A file that cannot be read as a checkpoint: truncated, damaged, foreign, or of a newer format.
 * `byteOffset` is the first byte that is wrong, counted from the start of the file, when there is one.
 */
export class CheckpointFileError extends HighwaterError {
  override readonly name: string = 'CheckpointFileError';
  declare readonly code: CheckpointFileErrorCode;
  readonly byteOffset: number | undefined;

  constructor(
    message: string,
    options: HighwaterErrorOptions & {
      readonly byteOffset?: number | undefined;
      readonly code?: CheckpointFileErrorCode;
    } = {},
  ) {
    super(options.code ?? 'CHECKPOINT_INVALID', message, options);
    this.byteOffset = options.byteOffset;
  }
}

/** A whole checkpoint that does not fit the module it is loaded into. Nothing was loaded. */
export class CheckpointMismatchError extends HighwaterError {
  override readonly name: string = 'CheckpointMismatchError';
  /** One line for each tensor that is missing, unexpected, or of another shape or dtype. */
  readonly mismatches: readonly string[];

  constructor(message: string, mismatches: readonly string[], options: HighwaterErrorOptions = {}) {
    super('CHECKPOINT_MISMATCH', [message, ...mismatches].join('\n  '), options);
    this.mismatches = mismatches;
  }
}

/** How a storage operation failed, the same for every storage. */
export type StorageErrorKind =
  | 'NotFound'
  | 'Conflict'
  | 'Permission'
  | 'NoSpace'
  | 'NotAFolder'
  | 'Unsupported'
  | 'Transient'
  | 'Other';

/** A storage operation failed. `path` is what it was about. */
export class StorageError extends HighwaterError {
  override readonly name: string = 'StorageError';
  readonly kind: StorageErrorKind;
  readonly path: string;

  constructor(
    kind: StorageErrorKind,
    path: string,
    message: string,
    options: HighwaterErrorOptions = {},
  ) {
    super(`STORAGE_${kind.toUpperCase() as Uppercase<StorageErrorKind>}`, message, options);
    this.kind = kind;
    this.path = path;
  }
}
