import { defineConfig } from 'vitest/config';

export default defineConfig({
  resolve: { tsconfigPaths: true },
  test: {
    include: ['test/**/*.test.ts'],
    testTimeout: 30_000,
    // What the Trainer prints is shown only where it helps to understand a failure.
    silent: 'passed-only',
    coverage: { include: ['src/**'] },
  },
});
