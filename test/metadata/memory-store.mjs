/** Storage for the cache over a shared buffer; counts nothing, fails never. */
export function memoryStore(buffer) {
  const bytes = new Uint8Array(buffer);
  return {
    size: bytes.length,
    copyOut: (at, target) => target.set(bytes.subarray(at, at + target.length)),
    copyIn: (at, source) => bytes.set(source, at),
  };
}
