import { describe, it } from 'vitest';
import { memoryFiles } from '../../src/storages/memory.ts';
import { storageContract } from '../../src/testing/storage-contract.ts';

const make = async () => ({ storage: memoryFiles(), root: '/runs' });

storageContract('memoryFiles', make, { describe, it });
