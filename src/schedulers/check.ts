import { MisconfigurationError } from '../errors.ts';
import { refuseOption } from '../option-check.ts';

/** Checks an option of a scheduler. @throws MisconfigurationError naming it, its value and what is allowed. */
export function check(
  name: string,
  option: string,
  value: unknown,
  isAllowed: boolean,
  allowed: string,
): void {
  if (!isAllowed) refuseOption(name, option, value, allowed);
}

/** The optimizer's rate. @throws MisconfigurationError when the engine does not know it. */
export function knownRate(name: string, baseRate: number | undefined): number {
  if (baseRate !== undefined) return baseRate;
  throw new MisconfigurationError(
    `${name}: the learning rate of this optimizer cannot be read or set. See the engine's ` +
      `configureOptimizers for one with a rate that can change.`,
  );
}
