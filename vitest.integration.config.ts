import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { tsconfigPaths: true },
  test: {
    include: ['test/**/*.integration.ts'],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
