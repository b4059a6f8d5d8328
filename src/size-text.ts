const SIZES = ['kB', 'MB', 'GB', 'TB', 'PB'] as const;

/** A size in decimal units, as disks are sold: `980 B`, `1.2 MB`. */
export function sizeText(bytes: number): string {
  let value = bytes;
  let unit = 'B';
  for (const next of SIZES) {
    if (Math.round(value) < 1000) break;
    value /= 1000;
    unit = next;
  }
  if (unit === 'B') return `${value} B`;
  return `${value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${unit}`;
}
