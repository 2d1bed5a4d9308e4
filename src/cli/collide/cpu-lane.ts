/** The CPU lane: loads and stores through windows, and copying reads and writes. */
import { blocksOf, codeOf, type Lane } from "./context.ts";
import { chooseCutTarget, chooseTarget } from "./cutters.ts";
import type { Files, OpenFile } from "./files.ts";
import { type PinnedIo, withPinnedPages } from "./pinned.ts";
import {
  BLOCK_BYTES,
  BODY_BYTES,
  encodeStamp,
  judgeBlock,
  judgeGlimpse,
  LEDGER_BYTES,
} from "./stamp.ts";

/** Blocks that one step touches: little enough that I/O of the thread goes on soon. */
const BLOCKS_MAX = 32;
const STORES = 64;

/** Pins in a burst: about a millisecond of them. */
const BURST_PINS = 300;
/** A pin that waits blocks the thread, whose own I/O may be what it waits for: so not for long. */
const BURST_OPTIONS = { write: false, timeoutMs: 5 } as const;
const BURST_CODES = ["ENOSPC", "EINVAL", "ETIMEDOUT"];

const STEPS = {
  storeBytes: 5,
  storeLedgers: 3,
  glimpse: 5,
  fillThroughWindow: 3,
  pinBurst: 6,
  copyIn: 3,
  copyOut: 3,
} as const;

/** What a copying call may meet: a full volume. */
const COPY_CODES = ["ENOSPC"];

export function cpuLane(files: Files): (lane: Lane) => Promise<void> {
  const scratch = Buffer.alloc(BLOCKS_MAX * BLOCK_BYTES);
  return async (lane) => {
    const step = lane.random.weighted(STEPS);
    if (step === "fillThroughWindow") {
      await withPinnedPages(lane, files, "write", (io) => fillThroughWindow(lane, io));
      return;
    }
    const target = (step === "pinBurst" ? chooseCutTarget(lane) : null) ?? chooseTarget(lane);
    const file = await files.take(lane, target.name);
    if (file === null) return;
    try {
      const { size } = file.handle.statSync();
      const count = lane.random.between(1, BLOCKS_MAX);
      const sizeBlocks = Math.ceil(size / BLOCK_BYTES);
      const limit = Math.min(sizeBlocks, lane.context.claims.blocksMax) - count;
      const first = Math.min(target.first, Math.max(0, limit));
      lane.enterRange(file.name, first, count);
      if (step === "pinBurst") pinBurst(lane, file, first);
      else if (step === "storeBytes") storeBytes(lane, file, first, count);
      else if (step === "storeLedgers") storeLedgers(lane, file, first, count);
      else if (step === "glimpse") glimpse(lane, file, first, count, scratch);
      else if (step === "copyIn") await copyIn(lane, file, first, count);
      else await copyOut(lane, file, first, count, scratch);
    } finally {
      await files.giveBack(lane, file);
    }
  };
}

/**
 * Pins a few pages over and over, each time for a moment: mostly by the fast path, which takes no
 * lock, while breaks of other threads come and go. No claim: only what is always true is judged.
 */
function pinBurst(lane: Lane, file: OpenFile, first: number): void {
  lane.enter("waiting for a pin");
  const { mark } = file;
  const count = lane.random.between(1, 4);
  let pinned = 0;
  try {
    for (; pinned < BURST_PINS; pinned++) {
      using pin = file.handle.pinSync(first * BLOCK_BYTES, count * BLOCK_BYTES, BURST_OPTIONS);
      const [page] = blocksOf(pin.buffers[0]!, 1);
      const fault = judgeGlimpse(page!, mark);
      if (fault !== null) lane.judged([fault], mark, first, "while it was pinned for a moment");
      if (pin.verify()) continue;
      const reason = "its pages are not the file's, though they are pinned";
      lane.judged([{ kind: "foreign", reason }], mark, first, "pinned for a moment");
    }
  } catch (error) {
    const code = codeOf(error);
    if (code === null || !(BURST_CODES.includes(code) || lane.context.expects(code))) throw error;
    lane.context.tally.countRefusal(code);
  }
  lane.context.tally.countIo("momentaryPins", 0, pinned);
}

/** Plain `bytes[i] = …` and `bytes[i]`, in ledgers here and there. */
function storeBytes(lane: Lane, file: OpenFile, first: number, count: number): void {
  lane.enter("touching a window");
  const bytes = file.window();
  const { plan, ledger } = file.mark;
  for (let store = 0; store < STORES; store++) {
    const block = first + lane.random.below(count);
    const index = lane.random.below(LEDGER_BYTES);
    const at = block * BLOCK_BYTES + plan.ledger + index;
    const found = bytes[at]!;
    if (found !== 0 && found !== ledger[index]) {
      const how = `loaded 0x${found.toString(16)} at ${plan.ledger + index} through a window`;
      const fault = { kind: "foreign", reason: "it holds another file's bytes" } as const;
      lane.judged([fault], file.mark, block, how);
    }
    bytes[at] = ledger[index]!;
  }
  const { tally } = lane.context;
  tally.countIo("windowStores", STORES, STORES);
  tally.countIo("windowLoads", STORES, STORES);
}

/** Bulk copies into ledgers. */
function storeLedgers(lane: Lane, file: OpenFile, first: number, count: number): void {
  lane.enter("touching a window");
  const bytes = file.window();
  for (let block = first; block < first + count; block++) {
    bytes.set(file.mark.ledger, block * BLOCK_BYTES + file.mark.plan.ledger);
  }
  lane.context.tally.countIo("windowStores", count * LEDGER_BYTES, count);
}

/** One bulk copy out of a window, at any moment; no byte of it may be another file's. */
function glimpse(lane: Lane, file: OpenFile, first: number, count: number, scratch: Buffer): void {
  lane.enter("touching a window");
  const length = count * BLOCK_BYTES;
  scratch.set(file.window().subarray(first * BLOCK_BYTES, first * BLOCK_BYTES + length));
  const faults = blocksOf(scratch, count).map((block) => judgeGlimpse(block, file.mark));
  lane.judged(faults, file.mark, first, "copied from a window");
  lane.context.tally.countIo("windowLoads", length);
}

/** Fills pinned pages by stores through the window, and looks for them in the storage. */
async function fillThroughWindow(lane: Lane, io: PinnedIo): Promise<void> {
  if (!io.handleIsOpen) return;
  const { source } = lane.context;
  const { plan } = io.file.mark;
  const sourceByte = lane.random.below(source.length - io.pages.length * BODY_BYTES + 1);
  lane.enter("touching a window");
  const window = io.file.window();
  const start = io.first * BLOCK_BYTES;
  io.pages.forEach((_, index) => {
    const at = start + index * BLOCK_BYTES;
    const from = sourceByte + index * BODY_BYTES;
    window.set(io.stampBytes(index, sourceByte, "filling"), at + plan.stamp);
    window.set(source.subarray(from, from + BODY_BYTES), at + plan.body);
  });
  io.judgeWindow(io.pages, sourceByte, "stored through a window and looked for in the storage");
  // Now in the storage itself, so that a store gone astray is reported once.
  io.pages.forEach((page, index) => {
    page.set(source.subarray(sourceByte + index * BODY_BYTES).subarray(0, BODY_BYTES), plan.body);
  });
  if (io.isWhole()) io.stampAll(sourceByte, "full");
  io.conclude("windowToPages");
}

/** Writes whole stamped blocks by one copying write, under a claim and without a pin. */
async function copyIn(lane: Lane, file: OpenFile, first: number, count: number): Promise<void> {
  const { context, random } = lane;
  using claim = context.claims.take(file.mark.identity, first, count, "write");
  if (claim === null) {
    context.tally.countRefusal("claimed");
    return;
  }
  const { plan } = file.mark;
  const generation = context.board.nextGeneration();
  const sourceByte = random.below(context.source.length - count * BODY_BYTES + 1);
  const data = Buffer.alloc(count * BLOCK_BYTES);
  for (let index = 0; index < count; index++) {
    const from = sourceByte + index * BODY_BYTES;
    const stamp = { generation, sourceByte: from, writer: lane.index };
    data.set(encodeStamp(file.mark, stamp, "full"), index * BLOCK_BYTES + plan.stamp);
    data.set(context.source.subarray(from, from + BODY_BYTES), index * BLOCK_BYTES + plan.body);
  }
  const written = await lane.attempt("writing a file by copying", COPY_CODES, () =>
    random.oneIn(2)
      ? file.handle.writeSync(data, first * BLOCK_BYTES)
      : file.handle.write(data, first * BLOCK_BYTES, context.waits),
  );
  if (written !== null) context.tally.countIo("copiedIn", written);
}

/** Reads whole blocks by one copying read, under a claim and without a pin, and judges them. */
async function copyOut(
  lane: Lane,
  file: OpenFile,
  first: number,
  count: number,
  scratch: Buffer,
): Promise<void> {
  const { context, random } = lane;
  using claim = context.claims.take(file.mark.identity, first, count, "read");
  if (claim === null) {
    context.tally.countRefusal("claimed");
    return;
  }
  const target = scratch.subarray(0, count * BLOCK_BYTES);
  const bytes = await lane.attempt("reading a file by copying", COPY_CODES, () =>
    random.oneIn(2)
      ? file.handle.readSync(target, first * BLOCK_BYTES)
      : file.handle.read(target, first * BLOCK_BYTES, context.waits),
  );
  if (bytes === null) return;
  // What lies beyond the file's end was not read: as if a cut had zeroed it.
  target.fill(0, bytes);
  const blocks = blocksOf(target, Math.ceil(bytes / BLOCK_BYTES));
  const faults = blocks.map((block) => judgeBlock(block, file.mark, context.source));
  lane.judged(faults, file.mark, first, "read by copying");
  context.tally.countIo("copiedOut", bytes);
}
