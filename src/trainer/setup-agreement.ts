import type { Callback } from '../callbacks/callback.ts';
import { MisconfigurationError } from '../errors.ts';
import type { DataSource } from './data-source.ts';
import type { Ranks } from './ranks.ts';
import type { TrainerSettings } from './settings.ts';

/**
 * Sees that all ranks were given the same, since they take the same steps only then.
 *
 * @param given by what it is called; JSON, but for numbers that are not finite.
 * @throws MisconfigurationError on every rank, naming the first difference.
 */
export async function agreeOn(
  ranks: Ranks,
  given: Readonly<Record<string, unknown>>,
): Promise<void> {
  if (!ranks.areMany) return;
  const own = Object.entries(given).map(([name, value]) => `${name} ${spell(value)}`);
  const all = (await ranks.gather(own)) as readonly (readonly string[])[];
  const [ofZero = []] = all;
  for (const [rank, spelt] of all.entries()) {
    const at = spelt.findIndex((each, i) => each !== ofZero[i]);
    if (at < 0) continue;
    throw ranks.share(
      new MisconfigurationError(
        `The ranks are not given the same: rank 0 has ${ofZero[at]}, and rank ${rank} has ${spelt[at]}. Give all the ` +
          `same; only rank 0 saves and prints in any case.`,
        { details: { rank, zero: ofZero[at], other: spelt[at] } },
      ),
    );
  }
}

/** What of a Trainer decides on the steps of training, for {@link agreeOn}. */
export function stepsOf(
  { logEveryNSteps: _, asyncSave: __, maxWaitingSaves: ___, ...settings }: TrainerSettings,
  callbacks: readonly Callback[],
): Readonly<Record<string, unknown>> {
  const deciding = callbacks.filter(({ isMonitor, isCheckpoint }) => isMonitor || isCheckpoint);
  const rules = deciding.flatMap((callback, i) =>
    Object.entries(callback.rules ?? {}).map(([option, value]) => [
      `${callback.constructor.name}.${option} (callback ${i})`,
      value,
    ]),
  );
  return {
    ...settings,
    'callbacks that judge or save': deciding.map((each) => each.stateKey ?? each.constructor.name),
    ...Object.fromEntries(rules),
  };
}

/** Where sources stand that are divided, and in which order their items come, for {@link agreeOn}. */
export function ordersOf(sources: readonly DataSource[]): readonly unknown[] {
  return sources.map((source) => (source.shard === undefined ? null : source.stateDict?.()));
}

/** As JSON, which has no word for Infinity. */
function spell(value: unknown): string {
  const isInfinite = (each: unknown): boolean => typeof each === 'number' && !Number.isFinite(each);
  return JSON.stringify(value, (_, each) => (isInfinite(each) ? String(each) : each)) ?? 'none';
}
