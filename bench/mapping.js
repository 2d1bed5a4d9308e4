// A whole device as one buffer. The package itself looks at a device through smaller views.

import { viewMemory } from "../dist/base/libc.js";
import { reserveAddresses, unmapAddresses } from "../dist/device/address-space.js";

/** @typedef {import("holdfast/device").Device} Device */

const HUGE_SIZE = 2 ** 21;

/**
 * Maps [0, length) of a device once more, in one piece. Let go of `bytes` before `unmap`.
 * @param {Device} device
 * @param {number} length
 * @returns {{ bytes: Uint8Array, unmap: () => void }}
 */
export function mapWhole(device, length) {
  const address = reserveAddresses(length, HUGE_SIZE);
  const at = /** @type {Parameters<Device["mapFixed"]>[0]} */ (/** @type {unknown} */ (address));
  device.mapFixed(at, 0, length, device.readOnly ? "private" : "shared", true);
  const bytes = new Uint8Array(viewMemory(address, length));
  return { bytes, unmap: () => unmapAddresses(address, length) };
}
