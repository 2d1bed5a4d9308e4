/**
 * Bringing a volume in order from its journal: first what would be done is worked out, and nothing is changed; then it
 * is done, on the device or in memory.
 *
 * Fast commits are changes, and not images of blocks: applied to half of their own outcome, they may give nonsense. So
 * on a device they become the log's next transaction first, the one that they were instead of:
 *
 *     log: T1 .. Tn            -> persist -> log: T1 .. Tn, Tn+1 -> persist -> home blocks -> persist -> log: empty
 *     fast commits of Tn+1     (blocks of Tn+1, without its record)
 *
 * Up to the second persist whoever comes next finds Tn the last transaction, and the fast commits as they were; from then
 * on Tn+1, and fast commits of a transaction that is over.
 *
 * Rules. (1) Nothing is changed before all that is going to be done has been looked at. (2) Home blocks are changed by
 *            images from the log only. (3) Each step done twice is done once.
 */
import { CorruptionError, HoldfastError } from "../../../base/errors.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import { type BlockImages, imagesOfChanges } from "../fast-commit/images.ts";
import { type FastCommits, readFastCommits } from "../fast-commit/scan.ts";
import { SUPERBLOCK_BYTE, SUPERBLOCK_SIZE } from "../format.ts";
import { parseSuperblock, type SuperblockFacts } from "../superblock.ts";
import { JOURNAL_MAGIC } from "./format.ts";
import { changeJournal, type JournalFacts, type JournalState, Log, type LogDevice } from "./log.ts";
import {
  copyHome,
  imagesToCopy,
  type LoggedTransaction,
  readTransactions,
  verifyImages,
} from "./scan.ts";
import { Jbd2Log } from "./write.ts";

/** A device whose size is known. */
export interface SizedDevice extends LogDevice {
  readonly size: number;
}

type Images = ReturnType<typeof imagesToCopy>;

/** The device as it is with the log's images at home. Reads lie in one block. */
class ReplayedView {
  readonly size: number;
  readonly #log: Log;
  readonly #images: Images;
  readonly #bytes: Uint8Array;

  constructor(log: Log, images: Images, size: number) {
    this.size = size;
    this.#log = log;
    this.#images = images;
    this.#bytes = new Uint8Array(log.blockSize);
  }

  copyOut(at: number, target: Uint8Array): void {
    const { blockSize, device } = this.#log;
    const inBlock = at % blockSize;
    const image = this.#images.get((at - inBlock) / blockSize)?.image;
    if (image === undefined) {
      device.copyOut(at, target);
      return;
    }
    this.#log.read(image.at, this.#bytes);
    if (image.isEscaped) new DataView(this.#bytes.buffer).setUint32(0, JOURNAL_MAGIC);
    target.set(this.#bytes.subarray(inBlock, inBlock + target.length));
  }
}

/** What is to be done. */
export class Recovery {
  /** Of the next transaction, afterwards. One is left out: what was never finished has the number of the next. */
  readonly sequence: number;
  /** Why fast commits that are there are passed over, so that the volume can only be read; or null. */
  readonly passedOver: string | null;
  readonly #facts: JournalFacts;
  readonly #state: JournalState;
  readonly #transactions: readonly LoggedTransaction[];
  readonly #images: Images;
  /** What fast commits change; null: there are none. */
  readonly #fastImages: BlockImages | null;

  /**
   * Works out what the journal of a volume, whose log is not empty, asks for. `deviceBytes`: the device's own size.
   * Throws: CorruptionError; EIO.
   */
  constructor(
    volume: SuperblockFacts,
    { facts, state }: { readonly facts: JournalFacts; readonly state: JournalState },
    device: SizedDevice,
    deviceBytes: number,
  ) {
    const log = new Log(facts, device);
    this.#facts = facts;
    this.#state = state;
    this.#transactions = readTransactions(log, state.sequence, state.start);
    this.#images = imagesToCopy(this.#transactions);
    verifyImages(log, this.#images);
    const next = (state.sequence + this.#transactions.length) >>> 0;
    const commits = readFastCommits(log, volume.inodeSize, next);
    let fastImages: BlockImages | string | null = null;
    if (commits !== null) {
      const view = new ReplayedView(log, this.#images, device.size);
      fastImages = imagesOfCommits(commits, view, deviceBytes);
    }
    this.passedOver = typeof fastImages === "string" ? fastImages : null;
    this.#fastImages = typeof fastImages === "string" ? null : fastImages;
    this.sequence = (next + (this.#fastImages === null ? 1 : 2)) >>> 0;
  }

  /** Why it can be done in memory only, or null. */
  get readOnlyReason(): string | null {
    if (this.passedOver !== null) return this.passedOver;
    const writer = new Jbd2Log(this.#facts, NO_DEVICE, () => {});
    if (this.#hasRoom(writer, this.#transactions.slice(-1))) return null;
    return (
      `its fast commits change ${this.#fastImages?.size} blocks, more than its journal has room for; ` +
      "mount it once with the kernel, or run e2fsck -f"
    );
  }

  /** Whether fast commits, as a transaction, find room in the log beside `kept`, its last transactions. */
  #hasRoom(writer: Jbd2Log, kept: readonly LoggedTransaction[]): boolean {
    if (this.#fastImages === null) return true;
    const used = kept.reduce((sum, { first, next }) => sum + writer.distance(first, next), 0);
    return used + writer.blocksFor(this.#fastImages.size, 0) < writer.blocks;
  }

  /** Changes what `device` gives, which is nobody else's. */
  inMemory(device: LogDevice): void {
    this.#copyHome(device, () => {});
  }

  /** Recovers the volume on the device. `persist` puts all that was stored on the medium. Throws: EIO. */
  onDevice(device: LogDevice, persist: () => void): void {
    if (this.#fastImages !== null) this.#logFastCommits(this.#fastImages, device, persist);
    this.#copyHome(device, persist);
    persist();
    changeJournal(new Log(this.#facts, device), { start: 0, sequence: this.sequence });
    persist();
  }

  #copyHome(device: LogDevice, persist: () => void): void {
    copyHome(new Log(this.#facts, device), this.#images, persist);
    const { blockSize } = this.#facts;
    for (const [block, bytes] of this.#fastImages ?? []) device.copyIn(block * blockSize, bytes);
  }

  /** Makes what fast commits change the log's next transaction. */
  #logFastCommits(images: BlockImages, device: LogDevice, persist: () => void): void {
    const writer = new Jbd2Log(this.#facts, device, persist);
    const sequence = (this.#state.sequence + this.#transactions.length) >>> 0;
    const last = this.#transactions.at(-1);
    if (last !== undefined && !this.#hasRoom(writer, this.#transactions)) {
      // All but the last transaction leave the log. That one stays, since an empty log has no fast commits.
      const log = new Log(this.#facts, device);
      copyHome(log, this.#images, persist);
      persist();
      changeJournal(log, { start: last.first, sequence: last.sequence });
      persist();
    }
    const blocks = [...images].map(([block, bytes]): MetadataBlock => {
      return { block, bytes, view: new DataView(bytes.buffer) };
    });
    const recordAt = writer.write(sequence, last?.next ?? this.#state.start, blocks, []);
    persist();
    writer.record(sequence, recordAt);
    persist();
  }
}

/** For whoever only asks how long transactions are. */
const NO_DEVICE: LogDevice = { copyOut: () => {}, copyIn: () => {} };

/** What fast commits change; or why they cannot be applied here. Throws: CorruptionError. */
function imagesOfCommits(
  { changes, unknownFeatures }: FastCommits,
  device: ReplayedView,
  deviceBytes: number,
): BlockImages | string {
  const end = "mount it once with the kernel, or run e2fsck -f";
  if (unknownFeatures !== 0) {
    return `its fast commits use features that are not supported: 0x${unknownFeatures.toString(16)}; ${end}`;
  }
  try {
    const superblock = new Uint8Array(SUPERBLOCK_SIZE);
    device.copyOut(SUPERBLOCK_BYTE, superblock);
    const facts = parseSuperblock(superblock, deviceBytes);
    if (facts.clusterBlocks > 1) return `its fast commits are of a volume with clusters; ${end}`;
    return imagesOfChanges(facts, device, changes);
  } catch (error) {
    if (error instanceof CorruptionError || !(error instanceof HoldfastError)) throw error;
    if (error.code === "EIO") throw error;
    return `its fast commits cannot be applied (${error.message}); ${end}`;
  }
}
