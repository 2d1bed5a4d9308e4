/** Metadata read straight from a device, without a cache in shared memory: before there is a mount, or without one. */
import type { MetadataBlock } from "../../metadata/cache.ts";
import type { BlockReader } from "./volume.ts";

export class DirectReader implements BlockReader {
  readonly #device: { copyOut(at: number, target: Uint8Array): void };
  readonly #blockSize: number;
  readonly #blocks = new Map<number, MetadataBlock>();

  constructor(device: { copyOut(at: number, target: Uint8Array): void }, blockSize: number) {
    this.#device = device;
    this.#blockSize = blockSize;
  }

  /** Throws: what `verify` does; EFAULT outside the device. */
  read(block: number, verify: (block: MetadataBlock) => void): MetadataBlock {
    const known = this.#blocks.get(block);
    if (known !== undefined) return known;
    const bytes = new Uint8Array(this.#blockSize);
    this.#device.copyOut(block * this.#blockSize, bytes);
    const read = { block, bytes, view: new DataView(bytes.buffer) };
    verify(read);
    this.#blocks.set(block, read);
    return read;
  }
}
