import { posix } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { isInside, pathInFolder } from '../../src/checkpoint/folder.ts';

describe('isInside', () => {
  it.each([
    ['/a', '/a/b'],
    ['/a/', '/a//b'],
    ['/a/x/..', '/a/./c/../b.ckpt'],
    ['/', '/a'],
    ['/a\\b', '/a\\b/c'],
    ['s3://bucket', 's3://bucket/a'],
    ['s3://bucket/', 's3://bucket/a'],
    ['s3://bucket/a', 's3://bucket/a//b'],
    ['s3://bucket/a', 's3://bucket/x/../a/b'],
    ['C:\\a', 'c:/a\\b'],
    ['C:\\', 'C:\\a'],
  ])('finds in %s the path %s', (folder, path) => {
    expect(isInside(folder, path)).toBe(true);
  });

  it.each([
    ['/a', '/a'],
    ['/a', '/a/'],
    ['/a', '/a/b/..'],
    ['/a', '/ab'],
    ['/a', '/a/../b'],
    ['/a', '/a/b/../../b'],
    ['/a', '/'],
    ['/a', 'a/b'],
    ['a', 'a/b'],
    ['', '/a'],
    ['/a', ''],
    ['/a', '/A/b'],
    ['/a', '/a/b\0'],
    ['/a\\b', '/a/b/c'],
    ['/a', '\\a\\b'],
    ['s3://bucket/a', 's3://other/a/b'],
    ['s3://bucket/a', 'gs://bucket/a/b'],
    ['s3://bucket/a', '/a/b'],
    ['/bucket/a', 's3://bucket/a/b'],
    ['s3://bucket/a', 's3://bucket//a/b'],
    ['s3://bucket/a', 's3://bucket/a/../b'],
    ['s3://bucket/a', 's3://bucket/a/%2E./b'],
    ['s3://bucket/a', 's3://bucket/a/..%2fb'],
    ['s3://bucket/a', 's3://bucket/a/..\\b'],
    ['C:\\a', 'D:\\a\\b'],
    ['C:\\a', 'C:\\a\\..\\b'],
    ['C:\\a', 'C:a\\b'],
  ])('does not find in %s the path %s', (folder, path) => {
    expect(isInside(folder, path)).toBe(false);
  });

  it('agrees with the relative path of POSIX', () => {
    const path = fc
      .array(fc.constantFrom('a', 'b', '..', '.', ''), { maxLength: 6 })
      .map((parts) => `/${parts.join('/')}`);
    fc.assert(
      fc.property(path, path, (folder, file) => {
        const relative = posix.relative(folder, file);
        expect(isInside(folder, file)).toBe(relative !== '' && !relative.startsWith('..'));
      }),
    );
  });
});

describe('pathInFolder', () => {
  it.each([
    ['/a', 'b.ckpt', '/a/b.ckpt'],
    ['/', 'b.ckpt', '/b.ckpt'],
    ['s3://bucket/', 'b/c.ckpt', 's3://bucket/b/c.ckpt'],
    ['/a', '/b.ckpt', '/b.ckpt'],
    ['', 'b.ckpt', 'b.ckpt'],
    [undefined, 'b.ckpt', 'b.ckpt'],
  ])('joins %s and %s to %s', (folder, name, path) => {
    expect(pathInFolder(folder, name)).toBe(path);
  });
});
