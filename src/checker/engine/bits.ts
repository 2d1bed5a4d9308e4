/** Sets of actors as bits, and arrays that grow. */

/** The lowest bit that is set. `bits` is not 0. */
export function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

export function bitCount(bits: number): number {
  let count = 0;
  for (; bits !== 0; bits &= bits - 1) count++;
  return count;
}

/** A copy of twice the length. */
export function doubled<T extends Int32Array<ArrayBuffer> | Uint8Array<ArrayBuffer>>(old: T): T {
  const Kind = old.constructor as new (length: number) => T;
  const copy = new Kind(old.length * 2);
  copy.set(old);
  return copy;
}
