/** A broken invariant: our own mistake, never the world's. Nobody catches it. */
export class InvariantError extends Error {
  override readonly name = "InvariantError";
  readonly code = "ERR_HOLDFAST_INVARIANT";
}

/**
 * States what must hold. Stays on in production, so a statement that has to be put together is given
 * as a function: it is called only when it is needed.
 * Throws: InvariantError, which nobody catches.
 */
export function invariant(
  condition: unknown,
  statement: string | (() => string),
): asserts condition {
  if (condition) return;
  throw new InvariantError(typeof statement === "string" ? statement : statement());
}

/** Marks a place that the types say cannot be reached. */
export function unreachable(value: never): never {
  throw new InvariantError(`unreachable value ${String(value)}`);
}
