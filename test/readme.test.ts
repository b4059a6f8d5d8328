import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

it('shows the quick start as it is in examples/', () => {
  const readme = readFileSync('README.md', 'utf8');
  expect(readme).toContain(readFileSync('examples/quick-start.ts', 'utf8'));
});

it.each(['README.md', 'CONTRIBUTING.md'])('%s names only commands and files that exist', (file) => {
  const text = readFileSync(file, 'utf8');
  const { scripts } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    scripts: Record<string, string>;
  };
  for (const [, script = ''] of text.matchAll(
    /npm (?:run )?(check|test|start|build|[a-z]+:[a-z]+)\b/g,
  )) {
    expect(Object.keys(scripts)).toContain(script);
  }
  for (const [, path = ''] of text.matchAll(/`((?:src|test|examples)\/[\w./-]+\.ts)`/g)) {
    expect(() => readFileSync(path)).not.toThrow();
  }
});

it('imports only what highwater/inspect exports', async () => {
  const readme = readFileSync('README.md', 'utf8');
  const names = /import \{([^}]*)\} from 'highwater\/inspect'/.exec(readme)?.[1] ?? '';
  const exported = Object.keys(await import('highwater/inspect'));
  expect(exported).toEqual(expect.arrayContaining(names.split(',').map((name) => name.trim())));
});
