/**
 * How many buffers jax-js holds. It tells nobody, so the table of its WebAssembly backend is caught as the
 * first buffer is entered. Import this before `@jax-js/jax` is first used.
 */
type Buffers = Map<unknown, unknown>;

let buffers: Buffers | undefined;
const set = Map.prototype.set;

Map.prototype.set = function catching(this: Buffers, key: unknown, value: unknown) {
  if (typeof value === 'object' && value !== null && 'ptr' in value && 'ref' in value) {
    buffers = this;
    Map.prototype.set = set;
  }
  return set.call(this, key, value);
};

/** Buffers that some array still refers to. */
export function liveJaxBuffers(): number {
  return buffers?.size ?? 0;
}
