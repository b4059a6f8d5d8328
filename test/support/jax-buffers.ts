/**
 * How many buffers jax-js holds. It tells nobody, so the table of its WebAssembly backend is caught as the
 * first buffer is entered. Import this before `@jax-js/jax` is first used.
 */
type Buffers = Map<unknown, { readonly size: number }>;

let buffers: Buffers | undefined;
const set = Map.prototype.set;

Map.prototype.set = function catching(this: Buffers, key: unknown, value: never) {
  if (typeof value === 'object' && value !== null && 'ptr' in value && 'size' in value) {
    buffers = this;
    Map.prototype.set = set;
  }
  return set.call(this, key, value);
};

/** Buffers that some array still refers to. */
export function liveJaxBuffers(): number {
  return buffers?.size ?? 0;
}

/** What they take, in bytes. */
export function liveJaxBytes(): number {
  return [...(buffers?.values() ?? [])].reduce((sum, { size }) => sum + size, 0);
}
