import type { EngineTensors } from '../engines/engine.ts';
import { MisconfigurationError } from '../errors.ts';

/** A logged value: a number, or an owned handle that is read at most once, when its value is needed. */
export class Scalar {
  #value: number | undefined;
  #tensor: { readonly engine: EngineTensors; readonly handle: unknown } | undefined;
  #owners = 1;

  private constructor(
    value: number | undefined,
    tensor?: { engine: EngineTensors; handle: unknown },
  ) {
    this.#value = value;
    this.#tensor = tensor;
  }

  static ofNumber(value: number): Scalar {
    return new Scalar(value);
  }

  /** @throws MisconfigurationError when the value is neither a number nor a scalar tensor. */
  static of(engine: EngineTensors, name: string, value: unknown): Scalar {
    if (typeof value === 'number') return new Scalar(value);
    if (engine.isTensor(value)) {
      const { shape } = engine.describe(value);
      if (shape.every((size) => size === 1)) {
        return new Scalar(undefined, { engine, handle: engine.retain(value) });
      }
      throw new MisconfigurationError(
        `log('${name}'): the tensor has shape [${shape.join(', ')}], but a metric is a single number. ` +
          `Reduce it first, for example with a mean.`,
        { details: { name, shape } },
      );
    }
    throw new MisconfigurationError(
      `log('${name}'): got ${describe(value)}, but a metric is a number or a scalar tensor.`,
      { details: { name, value } },
    );
  }

  /** One more owner; each releases once. */
  share(): Scalar {
    this.#owners++;
    return this;
  }

  release(): void {
    this.#owners--;
    if (this.#owners === 0) this.#drop();
  }

  /** The value, when it is known or can be read synchronously. */
  valueNow(): number | undefined {
    if (this.#value === undefined && this.#tensor !== undefined) {
      const read = this.#tensor.engine.readScalar(this.#tensor.handle);
      if (typeof read === 'number') this.#settle(read);
    }
    return this.#value;
  }

  async value(): Promise<number> {
    if (this.#value === undefined && this.#tensor !== undefined) {
      this.#settle(await this.#tensor.engine.readScalar(this.#tensor.handle));
    }
    return this.#value ?? Number.NaN;
  }

  #settle(value: number): void {
    this.#value = value;
    this.#drop();
  }

  #drop(): void {
    this.#tensor?.engine.release(this.#tensor.handle);
    this.#tensor = undefined;
  }
}

function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value === 'string') return `the string '${value}'`;
  return typeof value === 'object'
    ? `a ${value.constructor?.name ?? 'object'}`
    : `a ${typeof value}`;
}
