import { MisconfigurationError } from '../errors.ts';
import {
  type FormatSpec,
  formatNumber,
  type NumberKind,
  parseFormatSpec,
  reprFloat,
} from './format-spec.ts';

/** A group of a template: the metric it prints, and how. */
export interface MetricGroup {
  readonly name: string;
  readonly spec: FormatSpec;
  /** The spec as it was written; empty when there was none. */
  readonly specText: string;
}

/** A template's literal texts and groups, in order. */
export type ParsedTemplate = readonly (string | MetricGroup)[];

/** A metric as it prints: `epoch` and `step` are integers, everything logged is a float. */
export interface NamedValue {
  readonly value: number;
  readonly kind: NumberKind;
}

/** How a template becomes a name. The class constants of ModelCheckpoint, and the options of one call. */
export interface NameOptions {
  /** `{acc:.2f}` becomes `acc=0.91` rather than `0.91`. Default true. */
  readonly autoInsertMetricName?: boolean | undefined;
  /** Joins prefix, name and version, and the parts of the default template. Default `-`. */
  readonly joinChar?: string | undefined;
  /** Between an inserted metric name and its value. Default `=`. */
  readonly equalsChar?: string | undefined;
  /** Goes before the name, joined by `joinChar`, even when it is empty. Absent: nothing does. */
  readonly prefix?: string | undefined;
  /** Goes behind the name as `-v1`; an integer of at least 0. Absent: nothing does. */
  readonly version?: number | undefined;
  /** With its dot. Default `.ckpt`. */
  readonly extension?: string | undefined;
  /** What errors call the template: the option it was given as. Default `filename`. */
  readonly option?: string | undefined;
}

/**
 * Something a name could not show as asked: a metric that is not there (printed as 0), or a value that the
 * spec cannot print (printed without one).
 */
export type NameWarning =
  | { readonly kind: 'missing-metric'; readonly metric: string }
  | {
      readonly kind: 'unprintable';
      readonly metric: string;
      readonly spec: string;
      readonly value: number;
    };

/** A name, relative to the checkpoint folder, and what to warn of: each once, in the template's order. */
export interface FormattedName {
  readonly name: string;
  readonly warnings: readonly NameWarning[];
}

/**
 * Parses a template: literal text and groups `{name}` or `{name:spec}`. A name is anything without `{`, `}`
 * and `:`, a spec is what {@link parseFormatSpec} takes; `{{` and `}}` are literal braces, as in Python.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) for a brace without its partner, a group within a
 * group, a group without a name, and a spec that is none.
 *
 * Source: PyTorch Lightning 2.6, `ModelCheckpoint._format_checkpoint_name`, over `str.format`. Doubled
 * braces before a group, which fail there, work here.
 */
export function parseTemplate(template: string, option = 'filename'): ParsedTemplate {
  const refuse = (problem: string): never => refuseTemplate(option, template, problem);
  const tokens = template.matchAll(/\{\{|\}\}|\{(?<group>[^{}]*)\}|[{}]|[^{}]+/g);
  return Array.from(tokens, ({ 0: token, index, groups }) => {
    if (groups?.group !== undefined) return parseGroup(groups.group, refuse);
    if (token === '{') return refuse(`the '{' at index ${index} has no '}' of its own`);
    if (token === '}') return refuse(`the '}' at index ${index} has no '{'`);
    return token === '{{' || token === '}}' ? token.slice(1) : token;
  });
}

/**
 * The metrics that a template prints, each once, in its order.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) when the template cannot be parsed.
 */
export function metricNames(template: string): readonly string[] {
  const groups = parseTemplate(template).filter((part) => typeof part !== 'string');
  return [...new Set(groups.map(({ name }) => name))];
}

/**
 * Makes a file name from a template and the metrics: `{epoch}-{val_loss:.2f}` → `epoch=2-val_loss=0.12.ckpt`.
 * Without a template, or with an empty one, `{epoch}-{step}`. A metric that is missing prints as the integer
 * 0, a value that its spec cannot print as without a spec; both are told in `warnings`. NaN prints as `nan`.
 * Whether the name stays in its folder is left to {@link checkContained}.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) when the template cannot be parsed.
 *
 * Source: PyTorch Lightning 2.6, `ModelCheckpoint.format_checkpoint_name`.
 */
export function formatCheckpointName(
  template: string | undefined,
  metrics: ReadonlyMap<string, NamedValue>,
  options: NameOptions = {},
): FormattedName {
  const { autoInsertMetricName = true, joinChar = '-', equalsChar = '=', option } = options;
  const warnings = new Map<string, NameWarning>();
  const parts = parseTemplate(template || `{epoch}${joinChar}{step}`, option);
  const text = parts.map((part) => {
    if (typeof part === 'string') return part;
    const { shown, warning } = printMetric(part, metrics.get(part.name));
    if (warning) warnings.set(JSON.stringify(warning), warning);
    return autoInsertMetricName ? part.name + equalsChar + shown : shown;
  });
  const joined = [
    ...(options.prefix === undefined ? [] : [options.prefix]),
    text.join(''),
    ...(options.version === undefined ? [] : [`v${options.version}`]),
  ].join(joinChar);
  return { name: joined + (options.extension ?? '.ckpt'), warnings: [...warnings.values()] };
}

/**
 * The first name that is not taken: without a version, then with `startingVersion`, the one after it, and so
 * on. `nameForVersion` must give each version another name, and `isTaken` must come to an end.
 *
 * Source: PyTorch Lightning 2.6, `ModelCheckpoint._get_metric_interpolated_filepath_name`.
 */
export function firstFreeName(
  nameForVersion: (version: number | undefined) => string,
  isTaken: (name: string) => boolean,
  startingVersion = 1,
): string {
  let name = nameForVersion(undefined);
  for (let version = startingVersion; isTaken(name); version++) name = nameForVersion(version);
  return name;
}

/**
 * Checks that a name, extension and version included, stays inside the folder it is made for: a relative
 * path of parts with `/` between them, none of them empty or `..` and each at most 255 bytes of UTF-8,
 * without NUL. What only Windows takes for an absolute path or for a `..` part is refused everywhere.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) that names the option, the name and the rule.
 */
export function checkContained(name: string, option = 'filename'): void {
  const problem = escapeOf(name);
  if (problem === undefined) return;
  throw new MisconfigurationError(
    `ModelCheckpoint: ${option} gives the name '${name}', which ${problem}. It must stay inside ` +
      `dirpath: a relative path without '..', each part at most ${MAX_PART_BYTES} bytes.`,
    { details: { option, value: name, problem } },
  );
}

/**
 * Checks that the literal part of a template stays inside its folder, by {@link checkContained} of the name
 * that it gives when every metric is 0. A name that leaves the folder for other metrics only is found when
 * it is made.
 *
 * @throws MisconfigurationError (`MISCONFIGURATION`) also when the template cannot be parsed.
 */
export function checkTemplateContained(template: string, options: NameOptions = {}): void {
  const { name } = formatCheckpointName(template, new Map(), options);
  checkContained(name, options.option);
}

const MAX_PART_BYTES = 255;
const utf8: TextEncoder = new TextEncoder();

function escapeOf(name: string): string | undefined {
  if (name.includes('\0')) return 'holds a NUL character';
  if (/^(?:[a-z]:)?[\\/]/i.test(name)) return 'is an absolute path';
  // A URL takes `%2e` for a dot.
  const parts = name.replace(/%2e/gi, '.').split(/[\\/]/);
  if (parts.includes('..')) return `has a '..' part`;
  for (const part of name.split('/')) {
    if (part === '') return 'has an empty part';
    const size = utf8.encode(part).length;
    if (size > MAX_PART_BYTES) return `has a part of ${size} bytes`;
  }
  return undefined;
}

function parseGroup(group: string, refuse: (problem: string) => never): MetricGroup {
  const [, name = '', specText = ''] = /^([^:]*):?(.*)$/s.exec(group) ?? [];
  if (name === '') return refuse(`the group '{${group}}' names no metric`);
  const spec = parseFormatSpec(specText);
  if (spec !== undefined) return { name, spec, specText };
  return refuse(
    `in the group '{${group}}', '${specText}' is no format spec for a number ` +
      `([[fill]align][sign][z][#][0][width][, or _][.precision][d e E f F g G %], ` +
      `width and precision at most 255)`,
  );
}

function refuseTemplate(option: string, value: string, problem: string): never {
  throw new MisconfigurationError(
    `ModelCheckpoint: ${option} is '${value}', but it must be a template such as ` +
      `'{epoch}-{val_loss:.2f}': ${problem}.`,
    { details: { option, value, problem } },
  );
}

function printMetric(
  { name, spec, specText }: MetricGroup,
  metric: NamedValue | undefined,
): { readonly shown: string; readonly warning?: NameWarning } {
  const { value, kind } = metric ?? { value: 0, kind: 'integer' };
  const asAsked = formatNumber(value, spec, kind);
  const shown = asAsked ?? printPlain(value, kind);
  if (metric === undefined) return { shown, warning: { kind: 'missing-metric', metric: name } };
  if (asAsked !== undefined) return { shown };
  return { shown, warning: { kind: 'unprintable', metric: name, spec: specText, value } };
}

function printPlain(value: number, kind: NumberKind): string {
  return kind === 'integer' && Number.isInteger(value) ? String(BigInt(value)) : reprFloat(value);
}
