/** CRC32C as ext4 and XFS use it, from a maintained native library. */
import { crc32c as crc32cFinal } from "@node-rs/crc32";

/**
 * The raw CRC32C register after `bytes`, starting from `seed` (no final inversion), which is how
 * ext4 chains one checksum into the next: `crc32c(crc32c(~0, uuid), data)`.
 * Shapes: seed and result are unsigned 32-bit. Sleeps: never.
 */
export function crc32c(seed: number, bytes: Uint8Array): number {
  // The library inverts the register on the way in and on the way out.
  return ~crc32cFinal(bytes, ~seed >>> 0) >>> 0;
}
