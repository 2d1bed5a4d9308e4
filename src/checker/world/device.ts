/**
 * A simulated device: what each block of 4 KiB holds is one word of the region, in which each half
 * has its tag (who wrote it last: a letter's code, or 0 for zeroes). So every access to a block is a
 * scheduling point, a story shows it, and each schedule begins with the blocks as they were built.
 * A second word for each block tells what it held when it was last persisted.
 */
import { PAGE_SIZE } from "../../base/quantities.ts";
import { DeviceState } from "../../device/state.ts";
import { add, load, store } from "../../sync/atomics.ts";
import { type Region, Root } from "../../sync/region.ts";
import type { Thread } from "../../sync/thread.ts";

/** The smallest part of a block that is written. */
export const HALF = PAGE_SIZE / 2;
const FIRST_HALF = 0xff;
const SECOND_HALF = 0xff00;

/** What a block holds: the tag of its first half, and of its second shifted by 8. */
export type Content = number;

/** A whole block of one tag: the first letter of `name`, or zeroes. */
export function contentOf(name: string | null): Content {
  return name === null ? 0 : name.charCodeAt(0) * 0x101;
}

/** What is in a block after the storage has lost it. */
export const LOST_BYTES = contentOf("!");

/** In letters: "A" for a block that is all A's, "A." for one whose second half is zeroes. */
export function contentShown(content: Content): string {
  const letter = (tag: number): string => (tag === 0 ? "." : String.fromCharCode(tag));
  const [first, second] = [letter(content & 0xff), letter(content >>> 8)];
  return first === second ? first : first + second;
}

/** Words for the blocks of a device, and for what of them is persistent. */
export function createDeviceArea(region: Region, blocks: number): number {
  return region.allocatePages(2 * blocks);
}

/**
 * What can be made to fail: the device's calls, and the driver's: after it has placed new blocks, when
 * it looks for an extent, or only when it does for the file's first.
 */
export type FailingCall =
  | "zero"
  | "copyIn"
  | "copyOut"
  | "persist"
  | "allocate"
  | "extentAt"
  | "extentAt 0"
  | "freeInode";

/** Metadata that is on the device beside the blocks, as far as it was written home. */
interface MetadataHome {
  persistHome(persistent: (block: number) => Content): void;
}

/** Bytes that stand for any range of the device. */
const ANY_BYTES = new Uint8Array(2 ** 21);

/** The addresses that views stand for. */
const addresses = new WeakMap<Uint8Array, number>();

/** Blocks of another area, numbered on from `first`: a page cache behind a device. */
export interface BlocksBehind {
  readonly area: number;
  readonly first: number;
}

/** The device in one thread: what the core uses of `Device`. So is the memory of a page cache. */
export class SimulatedDevice {
  readonly size: number;
  /** The number by which others know block 0. */
  readonly first: number;
  /** Calls that fail, and with what. */
  readonly failing = new Map<FailingCall, Error>();
  readonly #thread: Thread;
  readonly #area: number;
  /** Null where nothing removes the device. */
  readonly #state: DeviceState | null;
  readonly #behind: BlocksBehind | null;
  /** Null where no scenario looks at it. */
  metadata: MetadataHome | null = null;

  constructor(
    thread: Thread,
    area: number,
    blocks: number,
    behind: BlocksBehind | null = null,
    first = 0,
  ) {
    this.#thread = thread;
    this.#area = area;
    const isShared = thread.region.findRoot(Root.deviceState) !== 0;
    this.#state = isShared ? new DeviceState(thread) : null;
    this.#behind = behind;
    this.first = first;
    this.size = blocks * PAGE_SIZE;
  }

  word(block: number): number {
    const behind = this.#behind;
    return behind !== null && block >= behind.first
      ? behind.area + (block - behind.first)
      : this.#area + block;
  }

  readBlock(block: number): Content {
    return load(this.#thread.words, this.word(block));
  }

  writeBlock(block: number, content: Content): void {
    store(this.#thread.words, this.word(block), content);
  }

  zero(at: number, length: number): void {
    this.assertPresent();
    this.failIfAsked("zero");
    this.#write(at, length, () => 0);
  }

  copyIn(at: number, source: Uint8Array): void {
    this.failIfAsked("copyIn");
    this.#write(at, source.length, (byte) => source[byte - at] ?? 0);
  }

  copyOut(at: number, target: Uint8Array): void {
    this.failIfAsked("copyOut");
    if (!(at >= 0 && at + target.length <= this.size)) throw new Error(`no bytes from ${at} on`);
    for (let done = 0; done < target.length; ) {
      const from = at + done;
      const part = Math.min(target.length - done, HALF - (from % HALF));
      const shift = from % PAGE_SIZE < HALF ? 0 : 8;
      const tag = (this.readBlock(Math.floor(from / PAGE_SIZE)) >>> shift) & 0xff;
      target.fill(tag, done, done + part);
      done += part;
    }
  }

  copy(from: number, to: number, length: number): void {
    this.failIfAsked("copyIn");
    for (let at = 0; at < length; at += PAGE_SIZE) {
      this.writeBlock((to + at) / PAGE_SIZE, this.readBlock((from + at) / PAGE_SIZE));
    }
  }

  persist(at: number, length: number): void {
    this.assertPresent();
    this.failIfAsked("persist");
    if (!(at >= 0 && at + length <= this.size))
      throw new Error(`no bytes from ${at} on to persist`);
    const { words } = this.#thread;
    const end = Math.ceil((at + length) / PAGE_SIZE);
    for (let block = Math.floor(at / PAGE_SIZE); block < end; block++) {
      store(words, this.#area + this.size / PAGE_SIZE + block, this.readBlock(block));
    }
  }

  /** Metadata first: nothing says in what order a device persists what it has. */
  persistAll(): void {
    const { words } = this.#thread;
    const first = this.#area + this.size / PAGE_SIZE;
    this.metadata?.persistHome((block) => words[first + block]!);
    this.persist(0, this.size);
  }

  /** The storage of a device that is gone: what was mapped of it are zeroes of nobody. */
  discard(): void {
    for (let block = 0; block * PAGE_SIZE < this.size; block++) this.writeBlock(block, 0);
  }

  get isGone(): boolean {
    return this.#state?.isGone ?? false;
  }

  assertPresent(): void {
    this.#state?.assertPresent();
  }

  /** A view that stands for a range; `addressOf` tells which. Its bytes mean nothing. */
  bytesUpTo(at: number, length: number): Uint8Array {
    if (!(at >= 0 && at < this.size)) throw new Error(`no bytes from ${at} on`);
    const bytes = ANY_BYTES.subarray(0, Math.min(length, ANY_BYTES.length));
    addresses.set(bytes, this.first * PAGE_SIZE + at);
    return bytes;
  }

  addressOf(bytes: Uint8Array): number {
    return addresses.get(bytes)!;
  }

  /** Throws: what the call fails with, if it is among the failing ones. */
  failIfAsked(call: FailingCall): void {
    const error = this.failing.get(call);
    if (error !== undefined) throw error;
  }

  /** `tagOf`: what is written at a byte; one tag for each half of a block. */
  #write(at: number, length: number, tagOf: (byte: number) => number): void {
    const end = at + length;
    if (!(at >= 0 && end <= this.size)) throw new Error(`no bytes from ${at} on to write`);
    if (at % HALF !== 0 || end % HALF !== 0) {
      throw new Error(`the simulated device writes half blocks, not [${at}, ${end})`);
    }
    for (let block = Math.floor(at / PAGE_SIZE); block * PAGE_SIZE < end; block++) {
      const start = block * PAGE_SIZE;
      const first = at <= start ? FIRST_HALF : 0;
      const second = end >= start + PAGE_SIZE ? SECOND_HALF : 0;
      if (first + second === 0xffff) {
        this.writeBlock(block, tagOf(start) + tagOf(start + HALF) * 0x100);
      } else this.#writeHalf(block, first + second, tagOf(first === 0 ? start + HALF : start));
    }
  }

  /** The difference is added, so that the other half may be written at the same time. */
  #writeHalf(block: number, mask: number, tag: number): void {
    const before = this.readBlock(block) & mask;
    const delta = ((tag * 0x101) & mask) - before;
    if (delta !== 0) add(this.#thread.words, this.#area + block, delta);
  }
}
