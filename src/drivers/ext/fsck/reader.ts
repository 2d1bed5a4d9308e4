/**
 * Reads a volume for its check. A block that its verifier refuses is told of and given all the same: the
 * walks check again what they use, so they end on any bytes, and what can be seen past damage is seen.
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { BlockReader } from "../volume.ts";

/** What is checked: the bytes of a device, or of one with a journal replayed over it in memory. */
export interface CheckedDevice {
  /** Bytes. */
  readonly size: number;
  /** Fills `target` from byte `at` on. Throws: EIO. */
  copyOut(at: number, target: Uint8Array): void;
}

/** Copies kept for whoever comes back to a block soon. */
const COPIES_MAX = 2048;

export class CheckReader implements BlockReader {
  readonly #device: CheckedDevice;
  readonly #blockSize: number;
  readonly #blocks: number;
  readonly #onDamage: (error: CorruptionError) => void;
  readonly #copies = new Map<number, MetadataBlock>();
  readonly #passing: { block: number; bytes: Uint8Array<ArrayBuffer>; view: DataView };

  constructor(
    device: CheckedDevice,
    blockSize: number,
    onDamage: (error: CorruptionError) => void,
  ) {
    this.#device = device;
    this.#blockSize = blockSize;
    this.#blocks = Math.floor(device.size / blockSize);
    this.#onDamage = onDamage;
    const bytes = new Uint8Array(blockSize);
    this.#passing = { block: -1, bytes, view: new DataView(bytes.buffer) };
  }

  /** A copy of the block. Throws: CorruptionError outside the device, and where this cannot be read. */
  read(block: number, verify: (block: MetadataBlock) => void): MetadataBlock {
    const known = this.#copies.get(block);
    if (known !== undefined) return known;
    this.#assertInside(block);
    const bytes = new Uint8Array(this.#blockSize);
    this.#readBytes(block, bytes);
    const copy = { block, bytes, view: new DataView(bytes.buffer) };
    if (this.#copies.size >= COPIES_MAX) {
      const [oldest] = this.#copies.keys();
      this.#copies.delete(oldest!);
    }
    this.#copies.set(block, copy);
    try {
      verify(copy);
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.#onDamage(error);
    }
    return copy;
  }

  /** As `read`, of a block that nobody comes back to: the copy is good until the next call. */
  readPassing(block: number): MetadataBlock {
    const known = this.#copies.get(block);
    if (known !== undefined) return known;
    this.#assertInside(block);
    this.#passing.block = block;
    this.#readBytes(block, this.#passing.bytes);
    return this.#passing;
  }

  #assertInside(block: number): void {
    if (!(Number.isInteger(block) && block >= 0 && block < this.#blocks)) {
      throw new CorruptionError({
        structure: "metadata block",
        field: "block number",
        value: block,
        expected: `expected below ${this.#blocks}, where the device ends`,
      });
    }
  }

  #readBytes(block: number, bytes: Uint8Array): void {
    const deviceByte = block * this.#blockSize;
    try {
      this.#device.copyOut(deviceByte, bytes);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code !== "EIO") throw error;
      const expected = "as the device answers EIO";
      const damage = { structure: "metadata block", field: "bytes", value: "unreadable", expected };
      throw new CorruptionError({ ...damage, deviceByte });
    }
  }
}
