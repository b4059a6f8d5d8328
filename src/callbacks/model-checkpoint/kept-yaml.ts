/** Paths and their scores as YAML, one a line, in their order. */
export function keptYaml(kept: Iterable<readonly [path: string, score: number]>): string {
  const lines = Array.from(
    kept,
    ([path, score]) => `${JSON.stringify(path)}: ${yamlNumber(score)}\n`,
  );
  return lines.join('') || '{}\n';
}

/** A number as YAML 1.2 spells it: `.inf`, `-.inf`. */
function yamlNumber(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return value > 0 ? '.inf' : '-.inf';
}
