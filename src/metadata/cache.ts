/**
 * Cached metadata blocks in shared memory. Metadata is edited in these copies, through transactions
 * only (transaction.ts), and reaches its home on the device by `flush`: the device mapping is shared
 * with the page cache, which may write any dirty page back at any time. Checksums in them are brought up to date
 * when they leave for the log or for home, by `seal`: until then nobody looks at them.
 *
 * Area, in words:
 *
 *     0 guard | 1 block size | 2 buffers made | 3 spare buffers' head | 16..: hash buckets
 *
 * A bucket is the index + 1 of its first buffer. Buffer headers lie in chunks of 64:
 *
 *     0 block, low | 1 block, high | 2 flags | 3 next in bucket | 4 data, word offset
 *     | 5 the journal's transaction that it has joined last | 6 the next buffer of that, 0: none joined (journal.ts)
 *     | 7 parts that changed since they were sealed, a bit each | 8 how they are sealed | 9 and with what
 *
 * Rules. (1) A buffer in a bucket keeps its block for ever; what is freed is only marked not valid.
 *            So readers walk buckets without a lock. (2) A buffer is dirty only when valid.
 *        (3) The bytes of a valid buffer change only inside the volume's one transaction.
 *        (4) A buffer in a bucket that is not valid is filled by any reader, under the guard. So its
 *            flags change under the guard, too, and whoever makes it valid otherwise writes its bytes
 *            after that.
 *        (5) Words 7 to 9 change under the transaction, before the bytes do. A part that is sealed once more is as it
 *            was, so undoing a change leaves its bit.
 */
import { CorruptionError } from "../base/errors.ts";
import { load, loadRelaxed, store } from "../sync/atomics.ts";
import { enterGuard, leaveGuard } from "../sync/guard.ts";
import { Root } from "../sync/region.ts";
import type { Thread } from "../sync/thread.ts";
import type { Journal } from "./journal.ts";

const BUCKETS = 65536;
export const CHUNK_BUFFERS = 64;
export const BUFFER_WORDS = 16;
/** As many as the largest region has room for, with blocks of 1 KiB. */
const CHUNKS_MAX = 131072;

const Area = { guard: 0, blockSize: 1, made: 2, spare: 3, buckets: 16 } as const;
export const CHUNK_TABLE = Area.buckets + BUCKETS;
const AREA_WORDS = CHUNK_TABLE + CHUNKS_MAX;

const Header = {
  low: 0,
  high: 1,
  flags: 2,
  next: 3,
  data: 4,
  joined: 5,
  nextJoined: 6,
  unsealed: 7,
  seal: 8,
  sealArgument: 9,
} as const;
export { Area as CacheArea, Header as BufferHeader };

export const VALID = 1;
export const DIRTY = 2;

/** What the cache needs of a device. */
export interface MetadataDevice {
  /** Bytes; it may rise. */
  readonly size: number;
  copyOut(at: number, target: Uint8Array): void;
  copyIn(at: number, source: Uint8Array): void;
  /** Throws: EIO when the device was removed. */
  assertPresent(): void;
  /** Puts all that was stored on the medium. Throws: EIO. */
  persistAll(): void;
}

/**
 * Writes the checksums of those parts of a block that `parts` has a bit for: a driver's kind of seal, from 1 on, with
 * what was given at the edit. It gives the same for the same bytes, in any thread, and does not throw.
 */
export type Sealer = (block: MetadataBlock, seal: number, argument: number, parts: number) => void;

function sealNothing(): void {}

/** One metadata block's cached copy. Valid until the lock it was read under is dropped. */
export interface MetadataBlock {
  /** Filesystem block number. */
  readonly block: number;
  /** The block's bytes, over shared memory. Changed only after `Transaction.edit`. */
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

/** A block with its buffer: what the transaction works on. */
export class CachedBlock implements MetadataBlock {
  readonly block: number;
  readonly header: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The transaction of this cache that has saved it last. */
  savedBy = 0;

  constructor(thread: Thread, block: number, header: number, blockSize: number) {
    const data = load(thread.words, header + Header.data);
    this.block = block;
    this.header = header;
    this.bytes = thread.region.bytes(data, blockSize);
    this.view = thread.region.view(data, blockSize);
  }
}

export class MetadataCache {
  readonly thread: Thread;
  readonly blockSize: number;
  readonly device: MetadataDevice;
  /** Where there is one, changes join its transactions. */
  journal: Journal | null = null;
  /** Transactions that were opened by it. */
  opened = 0;
  /** All of the region: for copies, which need no view of their own. */
  readonly #region: Uint8Array;
  #sealer: Sealer = sealNothing;
  readonly #area: number;
  /** Views made so far. A view names its buffer, and a buffer keeps its block (rule 1). */
  readonly #views = new Map<number, CachedBlock>();

  private constructor(thread: Thread, device: MetadataDevice, area: number) {
    this.thread = thread;
    this.device = device;
    this.#area = area;
    this.blockSize = load(thread.words, area + Area.blockSize);
    this.#region = thread.region.bytes(0, thread.region.buffer.byteLength);
  }

  /** Blocks of the device, as large as it is now. */
  get #blockCount(): number {
    return Math.floor(this.device.size / this.blockSize);
  }

  static create(thread: Thread, device: MetadataDevice, blockSize: number): MetadataCache {
    const { region } = thread;
    const area = region.allocatePages(AREA_WORDS);
    store(thread.words, area + Area.blockSize, blockSize);
    region.setRoot(Root.metadata, area);
    return new MetadataCache(thread, device, area);
  }

  static attach(thread: Thread, device: MetadataDevice): MetadataCache {
    return new MetadataCache(thread, device, thread.region.root(Root.metadata));
  }

  /**
   * The cached copy of `block`; when there is none, read from the device and checked by `verify`,
   * which throws CorruptionError (then nothing is cached).
   * Locks: whatever keeps the block from changing, or a sequence that tells. Sleeps: never.
   * Throws: CorruptionError, also for a block beyond the device; ENOMEM; EIO when the device is gone.
   */
  read(block: number, verify: (block: MetadataBlock) => void): MetadataBlock {
    const known = this.#views.get(block);
    if (known !== undefined && this.#flags(known.header) & VALID) return known;
    this.#assertOnDevice(block);
    return this.readCached(block) ?? this.#fill(block, verify);
  }

  /** The cached copy of `block`, or null. Locks: as `read`. */
  readCached(block: number): MetadataBlock | null {
    const header = this.#find(block);
    return header !== 0 && this.#flags(header) & VALID ? this.#view(block, header) : null;
  }

  /**
   * As `read` of a block that is not cached, and it stays so: for who looks at much, once.
   * Locks: the transaction: nobody changes blocks, or writes them home, meanwhile.
   */
  readCopy(block: number, verify: (block: MetadataBlock) => void): MetadataBlock {
    this.#assertOnDevice(block);
    const bytes = new Uint8Array(this.blockSize);
    this.device.copyOut(block * this.blockSize, bytes);
    this.device.assertPresent(); // else what was copied means nothing
    const copy = { block, bytes, view: new DataView(bytes.buffer) };
    verify(copy);
    return copy;
  }

  /** The buffer of `block`, whatever it holds: for `Transaction.create` and `revoke`. */
  buffer(block: number): CachedBlock {
    const known = this.#views.get(block);
    if (known !== undefined) return known;
    this.#assertOnDevice(block);
    let header = this.#find(block);
    if (header === 0) header = this.#insert(block, this.#takeBuffer(), 0);
    return this.#view(block, header);
  }

  /** The buffer of `block` if it has one. */
  bufferIfCached(block: number): CachedBlock | null {
    const header = this.#find(block);
    return header === 0 ? null : this.#view(block, header);
  }

  /**
   * Writes every dirty block home. Locks: the transaction is held, so that the blocks agree with one
   * another; where a journal is live, nothing has joined it since its last commit. Sleeps: in the device.
   * `kept` is left out. Returns the number of blocks written.
   */
  flush(kept: number | null = null): number {
    const made = load(this.thread.words, this.#area + Area.made);
    let written = 0;
    for (let index = 0; index < made; index++) {
      const header = this.#header(index);
      if ((this.#flags(header) & DIRTY) === 0) continue;
      if (this.#blockOf(header) === kept) continue;
      this.writeHome(this.#view(this.#blockOf(header), header));
      written++;
    }
    return written;
  }

  /** Writes one dirty block home. Locks: the transaction is held. */
  writeHome(block: CachedBlock): void {
    this.seal(block);
    this.device.copyIn(block.block * this.blockSize, block.bytes);
    this.setFlags(block.header, VALID);
  }

  /** Has blocks sealed so: the driver's way, or none. */
  sealBy(sealer: Sealer): void {
    this.#sealer = sealer;
  }

  /** Brings the checksums of a block that leaves the cache up to date. Locks: the transaction is held. */
  seal(block: CachedBlock): void {
    const { words } = this.thread;
    const { header } = block;
    const parts = loadRelaxed(words, header + Header.unsealed);
    if (parts === 0) return;
    const kind = loadRelaxed(words, header + Header.seal);
    this.#sealer(block, kind, loadRelaxed(words, header + Header.sealArgument), parts);
    store(words, header + Header.unsealed, 0);
  }

  /** For the transaction (rule 4). */
  setFlags(header: number, flags: number): void {
    const { thread } = this;
    const guard = this.#area + Area.guard;
    enterGuard(thread, guard);
    store(thread.words, header + Header.flags, flags);
    leaveGuard(thread, guard);
  }

  /** Copies a block's bytes to `word` on: to undo a change of them. Locks: the transaction. */
  copyTo(word: number, { bytes }: CachedBlock): void {
    this.#region.set(bytes, word * 4);
  }

  flagsOf(header: number): number {
    return this.#flags(header);
  }

  /** The view of a buffer by its header alone: for undoing another thread's edits. */
  viewOfHeader(header: number): CachedBlock {
    return this.#view(this.#blockOf(header), header);
  }

  #bytes(header: number): Uint8Array {
    const { region, words } = this.thread;
    return region.bytes(load(words, header + Header.data), this.blockSize);
  }

  #flags(header: number): number {
    return load(this.thread.words, header + Header.flags);
  }

  #blockOf(header: number): number {
    const low = load(this.thread.words, header + Header.low) >>> 0;
    return load(this.thread.words, header + Header.high) * 2 ** 32 + low;
  }

  #assertOnDevice(block: number): void {
    if (!(Number.isInteger(block) && block >= 0 && block < this.#blockCount)) {
      throw new CorruptionError({
        structure: "metadata block",
        field: "block number",
        value: block,
        expected: `below the device's ${this.#blockCount} blocks`,
      });
    }
  }

  #bucket(block: number): number {
    const mixed = Math.imul((block ^ (block / 2 ** 32)) >>> 0, 0x9e3779b1) >>> 16;
    return this.#area + Area.buckets + mixed;
  }

  #header(index: number): number {
    const chunk = load(this.thread.words, this.#area + CHUNK_TABLE + (index >>> 6));
    return chunk + (index & (CHUNK_BUFFERS - 1)) * BUFFER_WORDS;
  }

  #find(block: number): number {
    const { words } = this.thread;
    let index = load(words, this.#bucket(block));
    while (index !== 0) {
      const header = this.#header(index - 1);
      if (this.#blockOf(header) === block) return header;
      index = load(words, header + Header.next);
    }
    return 0;
  }

  #view(block: number, header: number): CachedBlock {
    let view = this.#views.get(block);
    if (view === undefined) {
      view = new CachedBlock(this.thread, block, header, this.blockSize);
      this.#views.set(block, view);
    }
    return view;
  }

  #fill(block: number, verify: (block: MetadataBlock) => void): MetadataBlock {
    const index = this.#takeBuffer();
    const draft = new CachedBlock(this.thread, block, this.#header(index), this.blockSize);
    try {
      this.device.copyOut(block * this.blockSize, draft.bytes);
      this.device.assertPresent(); // else what was copied means nothing
      verify(draft);
    } catch (error) {
      this.#giveBuffer(index);
      throw error;
    }
    return this.#view(block, this.#insert(block, index, VALID));
  }

  /**
   * Puts a filled buffer into its bucket, or gives it back if another thread was first. A buffer
   * that was there but not valid takes over the bytes.
   */
  #insert(block: number, index: number, flags: number): number {
    const { thread } = this;
    const { words } = thread;
    const header = this.#header(index);
    const guard = this.#area + Area.guard;
    enterGuard(thread, guard);
    const other = this.#find(block);
    if (other === 0) {
      const bucket = this.#bucket(block);
      store(words, header + Header.low, block | 0);
      store(words, header + Header.high, Math.floor(block / 2 ** 32));
      store(words, header + Header.flags, flags);
      store(words, header + Header.next, load(words, bucket));
      store(words, bucket, index + 1);
    } else if ((this.#flags(other) & VALID) === 0) {
      this.#bytes(other).set(this.#bytes(header));
      store(words, other + Header.flags, flags);
    }
    leaveGuard(thread, guard);
    if (other === 0) return header;
    this.#giveBuffer(index);
    return other;
  }

  /** A buffer in no bucket. */
  #takeBuffer(): number {
    const { thread } = this;
    const { words } = thread;
    const guard = this.#area + Area.guard;
    enterGuard(thread, guard);
    const spare = load(words, this.#area + Area.spare);
    if (spare !== 0) {
      store(words, this.#area + Area.spare, load(words, this.#header(spare - 1) + Header.next));
      leaveGuard(thread, guard);
      return spare - 1;
    }
    leaveGuard(thread, guard);
    this.#makeBuffers();
    return this.#takeBuffer();
  }

  #giveBuffer(index: number): void {
    const { thread } = this;
    enterGuard(thread, this.#area + Area.guard);
    const header = this.#header(index);
    store(thread.words, header + Header.next, load(thread.words, this.#area + Area.spare));
    store(thread.words, this.#area + Area.spare, index + 1);
    leaveGuard(thread, this.#area + Area.guard);
  }

  /** Adds a chunk of buffers to the spare ones. Throws: ENOMEM. */
  #makeBuffers(): void {
    const { thread } = this;
    const { words, region } = thread;
    const dataWords = this.blockSize / 4;
    const chunk = region.allocatePages(CHUNK_BUFFERS * BUFFER_WORDS);
    const data = region.allocatePages(CHUNK_BUFFERS * dataWords);
    enterGuard(thread, this.#area + Area.guard);
    const made = load(words, this.#area + Area.made);
    for (let index = 0; index < CHUNK_BUFFERS; index++) {
      const header = chunk + index * BUFFER_WORDS;
      store(words, header + Header.data, data + index * dataWords);
      const next =
        index + 1 < CHUNK_BUFFERS ? made + index + 2 : load(words, this.#area + Area.spare);
      store(words, header + Header.next, next);
    }
    store(words, this.#area + CHUNK_TABLE + made / CHUNK_BUFFERS, chunk);
    store(words, this.#area + Area.made, made + CHUNK_BUFFERS);
    store(words, this.#area + Area.spare, made + 1);
    leaveGuard(thread, this.#area + Area.guard);
  }
}
