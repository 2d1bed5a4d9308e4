/** One I/O on pinned pages: choose a range, claim it, pin it, judge it, use it, let go. */
import type { FilePin } from "../../index.ts";
import { type Lane, blocksOf, codeOf } from "./context.ts";
import type { Files, OpenFile } from "./files.ts";
import {
  BLOCK_BYTES,
  BODY_BYTES,
  encodeStamp,
  judgeBlock,
  judgeFilled,
  type Stamp,
  type StampState,
} from "./stamp.ts";
import type { IoKind } from "./tally.ts";

/** Blocks of one I/O: enough to cross extents, few enough for one vectored read (1,024 buffers). */
const BLOCKS_MAX = 64;
/** Once in so many I/Os the file loses its name and its last handle while the I/O is in flight. */
const ORPHAN_ONE_IN = 50;
/** Once in so many pins there is a deadline, so that giving up is tried as well. */
const DEADLINE_ONE_IN = 30;

/** What a pin may meet: a full volume, a file cut shorter meanwhile, a deadline of ours. */
export const PIN_CODES = ["ENOSPC", "EINVAL", "ETIMEDOUT"];
const EXTEND_CODES = ["ENOSPC"];

/** An I/O that holds its pages. */
export class PinnedIo {
  readonly lane: Lane;
  readonly file: OpenFile;
  readonly pin: FilePin;
  readonly first: number;
  /** The pages, in file order: the storage itself. */
  readonly pages: readonly Buffer[];
  /** The I/O's number. */
  readonly generation: number;
  readonly startedMs = performance.now();
  /** Whether file.handle can still be used: not after the orphan's close. */
  handleIsOpen = true;
  #faultFound: string | null = null;

  constructor(lane: Lane, file: OpenFile, pin: FilePin, first: number) {
    this.lane = lane;
    this.file = file;
    this.pin = pin;
    this.first = first;
    this.pages = pin.buffers.flatMap((buffer) => blocksOf(buffer, buffer.length / BLOCK_BYTES));
    this.generation = lane.context.board.nextGeneration();
  }

  get bytes(): number {
    return this.pages.length * BLOCK_BYTES;
  }

  /** The storage of the pages' bodies. */
  bodies(): Buffer[] {
    const { body } = this.file.mark.plan;
    return this.pages.map((page) => page.subarray(body, body + BODY_BYTES));
  }

  /** Whether the storage has lost some of the pages since: then only the pin still has them. */
  get isPoisoned(): boolean {
    return this.pin.poisoned.length > 0;
  }

  /** The stamp of one page of this I/O, when its first body comes from `sourceByte`. */
  stampBytes(page: number, sourceByte: number, state: StampState): Buffer {
    const stamp: Stamp = {
      generation: this.generation,
      sourceByte: sourceByte + page * BODY_BYTES,
      writer: this.lane.index,
    };
    const { isMortal } = this.lane.context.setup;
    return encodeStamp(this.file.mark, stamp, state === "filling" && isMortal ? "mortal" : state);
  }

  /** Writes the stamps of all pages, straight into the storage. */
  stampAll(sourceByte: number, state: StampState): void {
    const at = this.file.mark.plan.stamp;
    this.pages.forEach((page, index) => {
      page.set(this.stampBytes(index, sourceByte, state), at);
    });
  }

  /** Judges every page as it is found, before the I/O. */
  judgeFound(): void {
    const { mark } = this.file;
    const faults = this.pages.map((page) => judgeBlock(page, mark, this.lane.context.source));
    this.lane.judged(faults, mark, this.first, "found when it was pinned");
  }

  /** Judges pages (the storage, or a copy of what the file shows) after the I/O has filled them. */
  judgeSent(pages: readonly Buffer[], sourceByte: number, how: string): void {
    for (const [index, page] of pages.entries()) {
      this.noteFault(this.#faultOf(page, index, sourceByte), index, how);
    }
  }

  /** Judges whether the window and the storage are one, after the I/O has filled the pages. */
  judgeWindow(pages: readonly Buffer[], sourceByte: number, how: string): void {
    const { context } = this.lane;
    context.tally.blocksJudged += pages.length;
    const faults = pages.map((page, index) => this.#faultOf(page, index, sourceByte));
    const at = faults.findIndex((fault) => fault !== null);
    if (at < 0 || this.isPoisoned) return;
    context.tally.staleWindows++;
    const count = faults.filter((fault) => fault !== null).length;
    const where = `block ${this.first + at} of file #${this.file.mark.identity}`;
    context.report(
      "stale",
      `${where}, ${how}: ${faults[at]}; ${count} of the ${pages.length} blocks there`,
    );
  }

  #faultOf(page: Buffer, index: number, sourceByte: number): string | null {
    const from = sourceByte + index * BODY_BYTES;
    const stamp = this.stampBytes(index, sourceByte, "filling");
    const sent = this.lane.context.source.subarray(from, from + BODY_BYTES);
    return judgeFilled(page, this.file.mark, stamp, sent);
  }

  /** Keeps the I/O's first fault. */
  noteFault(fault: string | null, page: number, how: string): void {
    this.lane.context.tally.blocksJudged++;
    if (fault !== null) this.#faultFound ??= `block ${this.first + page}, ${how}: ${fault}`;
  }

  /** Whether the I/O went well so far, and its pages are still where they were. */
  isWhole(): boolean {
    if (!this.pin.verify()) {
      this.#faultFound ??= "its pages no longer belong to the file and offsets they were pinned at";
    }
    return this.#faultFound === null;
  }

  /** The I/O is over: counts it, and reports it when it was torn. Call before the release. */
  conclude(kind: IoKind): void {
    const { context } = this.lane;
    const whole = this.isWhole();
    const durationMs = performance.now() - this.startedMs;
    context.tally.countIo(kind, this.bytes);
    context.tally.pinned.record(durationMs);
    if (whole) return;
    context.tally.tornIos++;
    const last = this.first + this.pages.length - 1;
    const name = context.names[this.file.name];
    context.report(
      "torn",
      `I/O ${this.generation} on blocks ${this.first} to ${last} of ` +
        `file #${this.file.mark.identity} (${name}), pinned for ${durationMs.toFixed(1)} ms: ${this.#faultFound}`,
    );
  }
}

/**
 * Runs one I/O in pages of some file. What refuses it (no space, no such range any more, somebody's
 * claim) is counted, and that is all.
 */
export async function withPinnedPages(
  lane: Lane,
  files: Files,
  mode: "read" | "write",
  use: (io: PinnedIo) => Promise<void>,
  take: TakePin = takePin,
): Promise<void> {
  const { random, context } = lane;
  const name = random.below(context.names.length);
  const isOrphan = random.oneIn(ORPHAN_ONE_IN);
  const file = await (isOrphan ? files.openAnew(lane, name) : files.take(lane, name));
  if (file === null) return;
  let closed: Promise<unknown> | null = null;
  try {
    const range = await chooseRange(lane, file);
    using claim = context.claims.take(file.mark.identity, range.first, range.count, mode);
    if (claim === null) {
      context.tally.countRefusal("claimed");
      return;
    }
    lane.enterRange(name, range.first, range.count);
    const pin = await take(lane, file, range, mode);
    if (pin === null) return;
    try {
      // The rest of a page beyond the file's end is nobody's, and zeroed when the file grows. While
      // pinned the file cannot get shorter than this any more.
      if (file.handle.statSync().size < (range.first + range.count) * BLOCK_BYTES) {
        context.tally.countRefusal("cut shorter");
        return;
      }
      const beginIo = async (): Promise<PinnedIo> => new PinnedIo(lane, file, pin, range.first);
      // Of a long-term pin the lease may have expired since.
      const io = await lane.attempt("waiting for a pin", ["ESTALE"], beginIo);
      if (io === null) return;
      io.judgeFound();
      if (isOrphan) {
        closed = orphan(lane, file);
        io.handleIsOpen = false;
      }
      await use(io);
    } finally {
      pin.release();
    }
  } catch (error) {
    lane.noteFailure();
    throw error;
  } finally {
    lane.enter("closing");
    if (closed !== null) await closed;
    else if (isOrphan) await file.close();
    else await files.giveBack(lane, file);
  }
}

export interface BlockRange {
  readonly first: number;
  readonly count: number;
}

/** A range within the file, or a little beyond its end: then the file is extended first. */
async function chooseRange(lane: Lane, file: OpenFile): Promise<BlockRange> {
  const { random, context } = lane;
  const { size } = await file.handle.stat();
  const sizeBlocks = Math.ceil(size / BLOCK_BYTES);
  const count = random.between(1, BLOCKS_MAX);
  const reach = random.oneIn(3) ? sizeBlocks + count : sizeBlocks - count;
  const first = Math.min(random.below(Math.max(1, reach)), context.claims.blocksMax - count);
  const end = (first + count) * BLOCK_BYTES;
  if (end > size) {
    const done = await lane.attempt("extending a file", EXTEND_CODES, async () => {
      const { waits } = context;
      if (random.oneIn(2)) await file.handle.fallocate("allocate", size, end - size, waits);
      else await file.handle.truncate(end, waits);
      return true;
    });
    if (done !== null) context.tally.countCut("extend");
  }
  return { first, count };
}

/** Pins a range; null when that was refused. */
export type TakePin = (
  lane: Lane,
  file: OpenFile,
  range: BlockRange,
  mode: "read" | "write",
) => Promise<FilePin | null>;

async function takePin(
  lane: Lane,
  file: OpenFile,
  range: BlockRange,
  mode: "read" | "write",
): Promise<FilePin | null> {
  const { random, context } = lane;
  const deadline = random.oneIn(DEADLINE_ONE_IN) ? { timeoutMs: random.between(1, 20) } : {};
  return await lane.attempt("waiting for a pin", PIN_CODES, () =>
    file.handle.pin(range.first * BLOCK_BYTES, range.count * BLOCK_BYTES, {
      write: mode === "write",
      ...context.waits,
      ...deadline,
    }),
  );
}

/** Takes the file's name and handle away under the I/O: only the pin keeps its blocks now. */
async function orphan(lane: Lane, file: OpenFile): Promise<void> {
  const { volume, names, tally } = lane.context;
  try {
    await volume.unlink(names[file.name]!);
    tally.countCut("unlink");
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
  await file.close();
}
