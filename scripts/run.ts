/**
 * Runs one file of a folder by its name, or lists them: `tsx scripts/run.ts examples digits --epochs 2`.
 * The file sees its own arguments, as if it had been started directly.
 */
import { readdirSync } from 'node:fs';
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [node = '', , folder = '', name, ...rest] = process.argv;
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.ts') && !file.endsWith('.d.ts'))
  .map((file) => file.slice(0, -'.ts'.length));

if (name !== undefined && names.includes(name)) {
  const file = resolve(folder, `${name}.ts`);
  process.argv = [node, file, ...rest];
  try {
    await import(pathToFileURL(file).href);
  } catch (error) {
    // What Highwater says on purpose needs no stack.
    if (!(error instanceof Error && 'code' in error && 'details' in error)) throw error;
    console.error(
      `${String(error.code)}: ${error.message}\nSee the first lines of ${folder}/${name}.ts.`,
    );
    process.exitCode = 1;
  }
} else {
  if (name !== undefined) {
    console.error(`There is no ${name} in ${folder}/.`);
    process.exitCode = 1;
  }
  console.log(names.length === 0 ? `${folder}/ is empty.` : `${folder}: ${names.join(', ')}`);
}
