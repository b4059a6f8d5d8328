import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { parse } from 'yaml';
import { MisconfigurationError } from '../../src/errors.ts';
import { CSVLogger, type CSVLoggerOptions } from '../../src/loggers/csv.ts';

let saveDir: string;
let warnings: string[];

beforeEach(async () => {
  saveDir = await mkdtemp(join(tmpdir(), 'highwater-csv-'));
  warnings = [];
});
afterEach(() => rm(saveDir, { recursive: true }));

const loggerOf = (options: Partial<CSVLoggerOptions> = {}) =>
  new CSVLogger({ saveDir, name: 'run', onWarning: (text) => warnings.push(text), ...options });
const metricsOf = (logger: CSVLogger) => readFile(join(logger.logDir, 'metrics.csv'), 'utf8');

async function begun(options: Partial<CSVLoggerOptions> = {}): Promise<CSVLogger> {
  const logger = loggerOf(options);
  await logger.setup();
  return logger;
}

/** What a checkpoint takes of a logger, as it comes back from JSON. */
async function checkpointOf(logger: CSVLogger) {
  await logger.save();
  return JSON.parse(JSON.stringify(logger.position()));
}

describe('CSVLogger', () => {
  it('touches no file when it is constructed', async () => {
    loggerOf();
    expect(await readdir(saveDir)).toEqual([]);
  });

  it('writes the rows in order, with an empty field for what was not logged', async () => {
    const logger = await begun();
    await logger.logMetrics({ loss: 0.5, epoch: 0 }, 10);
    await logger.logMetrics({ loss: Number.NaN, epoch: 0 }, 20);
    await logger.logMetrics({ 'val, "it"': 1e-7, epoch: 0 }, 20);
    await logger.finalize();
    expect(await metricsOf(logger)).toBe(
      'step,loss,epoch,"val, ""it"""\n10,0.5,0,\n20,nan,0,\n20,,0,1e-7\n',
    );
    expect(await readdir(logger.logDir)).toEqual(['metrics.csv']);
  });

  it('adds a column to rows that are in the file already', async () => {
    const logger = await begun();
    await logger.logMetrics({ a: 1 }, 1);
    await logger.save();
    await logger.logMetrics({ b: 2 }, 2);
    await logger.save();
    await logger.logMetrics({ b: 3, a: 4, step: 9 }, 3);
    await logger.save();
    expect(await metricsOf(logger)).toBe('step,a,b\n1,1,\n2,,2\n3,4,3\n');
  });

  it('writes nothing until so many steps or rows have been logged', async () => {
    const logger = await begun({ flushLogsEveryNSteps: 3 });
    const lines = async () => (await metricsOf(logger).catch(() => '')).split('\n').length - 1;
    await logger.logMetrics({ a: 1 }, 1);
    await logger.logMetrics({ a: 1 }, 2);
    expect(await lines()).toBe(0);
    await logger.logMetrics({ a: 1 }, 3);
    expect(await lines()).toBe(4);
    for (let row = 0; row < 2; row++) await logger.logMetrics({ a: 1 }, 4);
    expect(await lines()).toBe(4);
    await logger.logMetrics({ a: 1 }, 4);
    expect(await lines()).toBe(7);
    await logger.logMetrics({ a: 1 }, 50);
    expect(await lines()).toBe(8);
  });

  it('writes no file when nothing was logged', async () => {
    const logger = await begun();
    await logger.finalize();
    expect(await readdir(logger.logDir)).toEqual([]);
  });

  it('numbers its runs from 0, one above the highest there is', async () => {
    expect((await begun()).version).toBe(0);
    await mkdir(join(saveDir, 'run', 'version_7'));
    await mkdir(join(saveDir, 'run', 'version_x'));
    await mkdir(join(saveDir, 'run', 'version_08'));
    await writeFile(join(saveDir, 'run', 'version_9'), '');
    const logger = await begun();
    expect(logger.version).toBe(8);
    expect(await logger.versions()).toEqual([0, 7, 8]);
    expect((await begun()).version).toBe(10);
  });

  it('never gives one number to two loggers that begin at once', async () => {
    const loggers = await Promise.all(Array.from({ length: 8 }, () => begun()));
    expect(new Set(loggers.map((logger) => logger.version)).size).toBe(8);
  });

  it.each([
    [{}, 'highwater_logs/version_0'],
    [{ name: '' }, 'version_0'],
    [{ name: 'a/b', version: 3 }, 'a/b/version_3'],
    [{ name: 'a', version: 'first' }, 'a/first'],
  ])('with %j writes to %s', async (options, folder) => {
    const logger = new CSVLogger({ saveDir, ...options });
    await logger.setup();
    expect(relative(saveDir, logger.logDir)).toBe(folder);
  });

  it('makes saveDir absolute when the run begins', async () => {
    const logger = loggerOf({ saveDir: relative(process.cwd(), saveDir) });
    await logger.setup();
    expect(logger.saveDir).toBe(saveDir);
  });

  it('begins only once', async () => {
    const logger = await begun();
    await logger.logMetrics({ a: 1 }, 1);
    await logger.setup();
    await logger.finalize();
    expect(await metricsOf(logger)).toBe('step,a\n1,1\n');
    expect(await logger.versions()).toEqual([0]);
  });

  it('knows only its own number when the version was given', async () => {
    await begun();
    await begun();
    expect(await loggerOf({ version: 1 }).versions()).toEqual([1]);
    expect(await loggerOf({ version: 5 }).versions()).toEqual([]);
    expect(await loggerOf({ version: 'a' }).versions()).toEqual([]);
  });

  it('writes hyper-parameters as YAML', async () => {
    const logger = await begun();
    const hyperParameters = { lr: 1e-3, name: 'a: b', layers: [1, 2], none: null, max: Infinity };
    await logger.logHyperparams({ lr: 1 });
    await logger.logHyperparams({ ...hyperParameters, absent: undefined });
    const text = await readFile(join(logger.logDir, 'hparams.yaml'), 'utf8');
    expect(parse(text)).toEqual(hyperParameters);
  });

  it('sets aside what another run left in the folder of a given version', async () => {
    for (const value of [1, 2, 3]) {
      const logger = await begun({ version: 'a' });
      await logger.logMetrics({ a: value }, value);
      await logger.finalize();
    }
    const folder = join(saveDir, 'run', 'a');
    expect((await readdir(folder)).sort()).toEqual([
      'metrics.1.csv',
      'metrics.2.csv',
      'metrics.csv',
    ]);
    expect(await readFile(join(folder, 'metrics.1.csv'), 'utf8')).toBe('step,a\n1,1\n');
    expect(await readFile(join(folder, 'metrics.csv'), 'utf8')).toBe('step,a\n3,3\n');
    expect(warnings).toHaveLength(2);
    expect(warnings[0]).toContain('metrics.1.csv');
  });

  it('warns on the console by default', async () => {
    const warn = vi.spyOn(console, 'warn').mockImplementation(() => {});
    await mkdir(join(saveDir, 'a'));
    await writeFile(join(saveDir, 'a', 'metrics.csv'), 'mine');
    await new CSVLogger({ saveDir, name: '', version: 'a' }).setup();
    expect(warn).toHaveBeenCalledOnce();
    warn.mockRestore();
  });

  it('keeps the rows when the disk fails, and writes them the next time', async () => {
    const logger = await begun();
    await logger.logMetrics({ a: 1 }, 1);
    await rm(logger.logDir, { recursive: true });
    await writeFile(logger.logDir, 'in the way');
    await expect(logger.save()).rejects.toThrow('ENOTDIR');
    expect(logger.position()).toEqual({ rows: 1, columns: ['step', 'a'] });
    await rm(logger.logDir);
    await logger.save();
    expect(await metricsOf(logger)).toBe('step,a\n1,1\n');
  });

  it('begins a new file when its own has gone away or been changed meanwhile', async () => {
    const logger = await begun();
    const path = join(logger.logDir, 'metrics.csv');
    await logger.logMetrics({ a: 1 }, 1);
    await logger.save();
    await rm(path);
    await logger.logMetrics({ a: 2 }, 2);
    await logger.save();
    expect(await metricsOf(logger)).toBe('step,a\n2,2\n');
    expect(warnings.pop()).toContain('is gone');
    await writeFile(path, 'step;a\n2;2\n');
    await logger.logMetrics({ b: 3 }, 3);
    await logger.save();
    expect(await metricsOf(logger)).toBe('step,a,b\n3,,3\n');
    expect(await readFile(join(logger.logDir, 'metrics.1.csv'), 'utf8')).toBe('step;a\n2;2\n');
    expect(logger.position()).toEqual({ rows: 1, columns: ['step', 'a', 'b'] });
  });

  it.runIf(process.getuid?.() !== 0)('says which folder it may not write to', async () => {
    await chmod(saveDir, 0o500);
    await expect(begun()).rejects.toThrow(saveDir);
    await chmod(saveDir, 0o700);
  });

  it.each([
    ['logMetrics', (logger: CSVLogger) => logger.logMetrics({}, 0)],
    ['logHyperparams', (logger: CSVLogger) => logger.logHyperparams({})],
    ['position', (logger: CSVLogger) => logger.position()],
    ['logDir', (logger: CSVLogger) => logger.logDir],
  ])('refuses %s before the run has begun', async (_member, use) => {
    await expect((async () => use(loggerOf()))()).rejects.toThrow(MisconfigurationError);
  });

  it.each([
    [{ saveDir: '' }, "saveDir is '', but it must be a folder"],
    [{ saveDir: 's3://bucket/logs' }, 'saveDir is'],
    [{ name: '../a' }, "name is '../a'"],
    [{ name: '/a' }, "name is '/a'"],
    [{ version: '' }, "version is ''"],
    [{ version: -1 }, 'version is -1, but it must be an integer of at least 0'],
    [
      { flushLogsEveryNSteps: 0 },
      'flushLogsEveryNSteps is 0, but it must be an integer of at least 1',
    ],
  ])('refuses the options %j', (options, message) => {
    expect(() => loggerOf(options)).toThrow(MisconfigurationError);
    expect(() => loggerOf(options)).toThrow(message);
  });
});

describe('CSVLogger.resume', () => {
  it('leaves the file of a run that was never interrupted, byte for byte', async () => {
    const rows = fc.array(
      fc.dictionary(fc.constantFrom('loss', 'acc', 'a,b', 'epoch'), fc.double(), { minKeys: 1 }),
      { maxLength: 12 },
    );
    const setups = fc.record({
      before: rows,
      lost: rows,
      after: rows,
      torn: fc.string(),
      flushLogsEveryNSteps: fc.integer({ min: 1, max: 4 }),
    });
    await fc.assert(
      fc.asyncProperty(setups, async ({ before, lost, after, torn, flushLogsEveryNSteps }) => {
        const options = { flushLogsEveryNSteps };
        const whole = await begun(options);
        for (const [i, row] of [...before, ...after].entries()) await whole.logMetrics(row, i);
        await whole.finalize();

        const killed = await begun(options);
        for (const [i, row] of before.entries()) await killed.logMetrics(row, i);
        const position = await checkpointOf(killed);
        for (const [i, row] of lost.entries()) await killed.logMetrics(row, i);
        const text = await metricsOf(killed).catch(() => undefined);
        if (text !== undefined) {
          await writeFile(join(killed.logDir, 'metrics.csv'), `${text}1${torn}`);
        }

        const resumed = loggerOf(options);
        await resumed.resume(killed.version ?? 0, position);
        expect(resumed.position()).toEqual(position);
        for (const [i, row] of after.entries()) await resumed.logMetrics(row, before.length + i);
        await resumed.finalize();
        const read = (logger: CSVLogger) => metricsOf(logger).catch(() => undefined);
        const expected = await read(whole);
        const actual = await read(resumed);
        // A file that was begun only after the checkpoint keeps its header.
        expect(actual === 'step\n' ? undefined : actual).toBe(expected);
        expect(warnings).toEqual([]);
      }),
      { numRuns: 60 },
    );
  });

  it('goes on in the version it is told, also one that is not its own', async () => {
    const first = await begun();
    await first.logMetrics({ a: 1 }, 1);
    const position = await checkpointOf(first);
    const other = await begun();
    await other.logMetrics({ a: 9 }, 9);
    await other.resume(0, position);
    await other.logMetrics({ a: 2 }, 2);
    await other.finalize();
    expect(other.version).toBe(0);
    expect(await metricsOf(first)).toBe('step,a\n1,1\n2,2\n');
    const left = await readFile(join(saveDir, 'run', 'version_1', 'metrics.csv'), 'utf8');
    expect(left).toBe('step,a\n9,9\n');
  });

  it('keeps every row when the position is not known', async () => {
    const first = await begun();
    await first.logMetrics({ a: 1 }, 1);
    await first.finalize();
    const resumed = loggerOf();
    await resumed.resume(0, null);
    await resumed.logMetrics({ b: 2 }, 2);
    await resumed.finalize();
    expect(await metricsOf(resumed)).toBe('step,a,b\n1,1,\n2,,2\n');
  });

  it.each([
    ['another table', 'step,b\n1,1\n2,2\n'],
    ['fewer rows', 'step,a\n1,1\n'],
    ['a damaged row', 'step,a\n1,1\n2;2\n'],
    ['no table at all', '\0\0\0\0'],
    ['nothing', ''],
  ])('sets %s aside, with a warning, and begins a new file', async (_what, text) => {
    const logger = loggerOf();
    await mkdir(join(saveDir, 'run', 'version_0'), { recursive: true });
    const path = join(saveDir, 'run', 'version_0', 'metrics.csv');
    await writeFile(path, text);
    await logger.resume(0, { rows: 2, columns: ['step', 'a'] });
    await logger.logMetrics({ a: 3 }, 3);
    await logger.finalize();
    expect(await metricsOf(logger)).toBe('step,a\n3,3\n');
    expect(await readFile(join(logger.logDir, 'metrics.1.csv'), 'utf8')).toBe(text);
    expect(warnings).toHaveLength(1);
    expect(logger.position().rows).toBe(1);
  });

  it('sets aside what is torn when the position is not known', async () => {
    await mkdir(join(saveDir, 'run', 'version_0'), { recursive: true });
    const path = join(saveDir, 'run', 'version_0', 'metrics.csv');
    await writeFile(path, 'step,a\n1,1\n2,');
    await loggerOf().resume(0, null);
    expect(await readdir(join(saveDir, 'run', 'version_0'))).toEqual(['metrics.1.csv']);
  });

  it('says so when the file is gone', async () => {
    const logger = loggerOf();
    await logger.resume(0, { rows: 2, columns: ['step', 'a'] });
    expect(warnings).toEqual([expect.stringContaining('2 rows')]);
    await logger.logMetrics({ a: 3 }, 3);
    await logger.finalize();
    expect(await metricsOf(logger)).toBe('step,a\n3,3\n');
  });

  it.each([
    3,
    {},
    { rows: -1, columns: ['step'] },
    { rows: 1, columns: 'step' },
    { rows: 0, columns: [] },
  ])('refuses the position %j', async (position) => {
    const resume = loggerOf().resume(0, position);
    await expect(resume).rejects.toThrow(MisconfigurationError);
    expect(await readdir(saveDir)).toEqual([]);
  });
});
