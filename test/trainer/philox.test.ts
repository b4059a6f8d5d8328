import { expect, it } from 'vitest';
import { type Block, philox4x32 } from '../../src/trainer/philox.ts';

const wordsOf = (text: string) => text.split(' ').map((word) => Number.parseInt(word, 16));

// Random123 1.14, tests/kat_vectors, the lines "philox4x32 10": counter, key, answer.
it.each([
  [
    '00000000 00000000 00000000 00000000',
    '00000000 00000000',
    '6627e8d5 e169c58d bc57ac4c 9b00dbd8',
  ],
  [
    'ffffffff ffffffff ffffffff ffffffff',
    'ffffffff ffffffff',
    '408f276d 41c83b0e a20bc7c6 6d5451fd',
  ],
  [
    '243f6a88 85a308d3 13198a2e 03707344',
    'a4093822 299f31d0',
    'd16cfe09 94fdcceb 5001e420 24126ea1',
  ],
])('answers the published vector of counter %s, key %s', (counter, key, answer) => {
  const block = philox4x32(wordsOf(counter) as unknown as Block, wordsOf(key) as [number, number]);
  expect(block).toEqual(wordsOf(answer));
});
