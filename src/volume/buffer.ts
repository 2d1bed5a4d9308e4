/** Memory for what is read of a file. */
import { constants } from "node:buffer";
import { HoldfastError } from "../base/errors.ts";

/** Throws: EFBIG for what one buffer cannot hold. */
export function newBuffer(size: number): Uint8Array {
  if (size > constants.MAX_LENGTH) {
    const message = `${size} bytes are more than one buffer holds; take the file in parts`;
    throw new HoldfastError("EFBIG", message);
  }
  return new Uint8Array(size);
}
