import type { Strategy } from './strategy.ts';

/** One process: every collective has nothing to do, and {@link Strategy.abort} just throws. */
export function singleStrategy(): Strategy {
  return {
    name: 'single',
    rank: 0,
    worldSize: 1,
    isGlobalZero: true,
    setup: async () => undefined,
    teardown: async () => undefined,
    barrier: async () => undefined,
    broadcast: async (value) => value,
    broadcastTensor: async () => undefined,
    reduceGradients: async () => undefined,
    reduceBoolean: async (value) => value,
    reduce: async (values) => [...values],
    gather: async (value) => [value],
    abort: async (error) => {
      throw error;
    },
  };
}
