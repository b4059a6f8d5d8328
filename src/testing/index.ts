export { type EngineUnderTest, engineContract } from './engine-contract.ts';
export { type StorageUnderTest, storageContract } from './storage-contract.ts';
export { type StrategyUnderTest, strategyContract } from './strategy-contract.ts';
export type { TestRunner } from './test-runner.ts';
