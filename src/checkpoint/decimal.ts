/** A non-negative decimal number, `0.d₁d₂d₃… × 10^point`, where `digits` is `d₁d₂d₃…`. */
export interface Decimal {
  /** Decimal digits; the first is `0` only where the number is zero. May be empty (zero). */
  readonly digits: string;
  /** How many digits stand before the decimal point; zero or less when the number is below 0.1. */
  readonly point: number;
}

/** The exact decimal value of `|value|`, however many digits it takes. `value` must be finite. */
export function exactDecimal(value: number): Decimal {
  if (value === 0) return { digits: '0', point: 1 };
  const [bits = 0n] = new BigUint64Array(new Float64Array([value]).buffer);
  const biased = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & 0xf_ffff_ffff_ffffn;
  const mantissa = biased === 0 ? fraction : fraction | (1n << 52n);
  const exponent = Math.max(biased, 1) - 1075;
  if (exponent >= 0) return fromInteger(mantissa << BigInt(exponent), 0);
  // m / 2^k = m·5^k / 10^k
  return fromInteger(mantissa * 5n ** BigInt(-exponent), -exponent);
}

/** The fewest digits that read back as the double `|value|`, the nearest of those to it. */
export function shortestDecimal(value: number): Decimal {
  const [digits = '', exponent = ''] = Math.abs(value).toExponential().split('e');
  return { digits: digits.replace('.', ''), point: Number(exponent) + 1 };
}

/**
 * Rounds to the first `count` digits, ties to even. A `count` of zero or less leaves either nothing (zero)
 * or, rounding up from half or more of the last place kept, a one there.
 */
export function roundDecimal({ digits, point }: Decimal, count: number): Decimal {
  if (count >= digits.length) return { digits, point };
  if (count < 0) return { digits: '', point };
  const kept = digits.slice(0, count);
  const tail = digits.slice(count);
  const isTie = /^50*$/.test(tail);
  const roundsUp = isTie ? Number(kept.at(-1) ?? 0) % 2 === 1 : tail >= '5';
  if (!roundsUp) return { digits: kept, point };
  const raised = String(BigInt(kept) + 1n);
  return { digits: raised.replace(/0+$/, ''), point: point + raised.length - kept.length };
}

function fromInteger(integer: bigint, decimals: number): Decimal {
  const digits = String(integer);
  return { digits: digits.replace(/0+$/, ''), point: digits.length - decimals };
}
