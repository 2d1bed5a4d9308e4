/** The I/O lanes: asynchronous reads into pinned pages, and writes out of them. */
import { closeSync, openSync, readSync, readv, writev } from "node:fs";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { blocksOf, type Lane } from "./context.ts";
import type { Files } from "./files.ts";
import type { Loopback, Pace } from "./loopback.ts";
import { type PinnedIo, withPinnedPages } from "./pinned.ts";
import type { Random } from "./random.ts";
import { BLOCK_BYTES, BODY_BYTES, judgeUnchanged } from "./stamp.ts";

const readVectors = promisify(readv);
const writeVectors = promisify(writev);

/** How often, in I/Os, what was delivered is also read back through the file itself. */
const READ_BACK_ONE_IN = 3;

function choosePace(random: Random): Pace {
  return { parts: random.between(2, 6), pauseMs: random.between(1, 4) };
}

function chooseSourceByte(lane: Lane, io: PinnedIo): number {
  return lane.random.below(lane.context.source.length - io.pages.length * BODY_BYTES + 1);
}

/** After the pages are filled and before they are let go: storage, file and window must agree. */
async function concludeFilled(lane: Lane, io: PinnedIo, sourceByte: number): Promise<void> {
  io.judgeSent(io.pages, sourceByte, "after the I/O");
  if (io.handleIsOpen && io.isWhole() && lane.random.oneIn(READ_BACK_ONE_IN)) {
    lane.enter("reading back what an I/O delivered");
    const offset = io.first * BLOCK_BYTES;
    const copy = Buffer.alloc(io.bytes);
    if (lane.random.oneIn(2)) {
      const { waits } = lane.context;
      const count = await lane.attempt("reading back what an I/O delivered", [], () =>
        io.file.handle.read(copy, offset, waits),
      );
      const blocks = blocksOf(copy, io.pages.length);
      if (count === io.bytes) io.judgeSent(blocks, sourceByte, "read back by copying");
      else if (!io.isPoisoned)
        io.noteFault(`a read gave ${count} of ${io.bytes} bytes`, 0, "read back by copying");
    } else {
      copy.set(io.file.window().subarray(offset, offset + io.bytes));
      io.judgeWindow(blocksOf(copy, io.pages.length), sourceByte, "read back through a window");
    }
  }
  if (io.isWhole()) io.stampAll(sourceByte, "full");
}

/** Reads from the source file into pinned pages, around their stamps, and looks whether all is there. */
export async function fillFromSource(lane: Lane, io: PinnedIo): Promise<void> {
  const sourceByte = chooseSourceByte(lane, io);
  io.stampAll(sourceByte, "filling");
  lane.enter("reading from the source file into pinned pages");
  const bodies = io.bodies();
  const step = lane.random.oneIn(2) ? bodies.length : Math.ceil(bodies.length / 3);
  for (let at = 0; at < bodies.length; at += step) {
    if (at > 0) await pause(1);
    const part = bodies.slice(at, at + step);
    const from = sourceByte + at * BODY_BYTES;
    const { bytesRead } = await readVectors(lane.context.sourceDescriptor, part, from);
    if (bytesRead !== part.length * BODY_BYTES) {
      throw new Error(`the source file gave ${bytesRead} bytes at ${from}: did it change?`);
    }
  }
  await concludeFilled(lane, io, sourceByte);
}

export function fileToPagesLane(files: Files): (lane: Lane) => Promise<void> {
  return (lane) =>
    withPinnedPages(lane, files, "write", async (io) => {
      await fillFromSource(lane, io);
      io.conclude("fileToPages");
    });
}

/** Receives source bytes from a socket, straight into pinned pages. */
export function socketToPagesLane(files: Files, loopback: Loopback): (lane: Lane) => Promise<void> {
  return (lane) =>
    withPinnedPages(lane, files, "write", async (io) => {
      const sourceByte = chooseSourceByte(lane, io);
      io.stampAll(sourceByte, "filling");
      lane.enter("receiving from a socket into pinned pages");
      const sourceEnd = sourceByte + io.pages.length * BODY_BYTES;
      const data = lane.context.source.subarray(sourceByte, sourceEnd);
      await loopback.receive(io.bodies(), data, choosePace(lane.random));
      await concludeFilled(lane, io, sourceByte);
      io.conclude("socketToPages");
    });
}

/** Judges what arrived, and the pages themselves, against a copy made when they were pinned. */
function judgeSentOut(io: PinnedIo, before: readonly Buffer[], arrived: Buffer): void {
  const { mark } = io.file;
  const received = blocksOf(arrived, Math.floor(arrived.length / BLOCK_BYTES));
  before.forEach((copy, index) => {
    io.noteFault(judgeUnchanged(io.pages[index]!, copy, mark), index, "after it was sent");
    const block = received[index];
    const fault = block === undefined ? "it did not arrive" : judgeUnchanged(block, copy, mark);
    io.noteFault(fault, index, "at the other end");
  });
}

/** Writes pinned pages to a file outside the volume. */
export function pagesToFileLane(files: Files): (lane: Lane) => Promise<void> {
  return (lane) =>
    withPinnedPages(lane, files, "read", async (io) => {
      const before = io.pages.map((page) => Buffer.from(page));
      const descriptor = openSync(lane.context.scratchFile("out"), "w+");
      try {
        lane.enter("writing pinned pages to a file");
        await pause(lane.random.below(3));
        await writeVectors(descriptor, io.pin.buffers, 0);
        const arrived = Buffer.alloc(io.bytes);
        const count = readSync(descriptor, arrived, 0, arrived.length, 0);
        judgeSentOut(io, before, arrived.subarray(0, count));
      } finally {
        closeSync(descriptor);
      }
      io.conclude("pagesToFile");
    });
}

/** Sends pinned pages through a socket, in parts. */
export function pagesToSocketLane(files: Files, loopback: Loopback): (lane: Lane) => Promise<void> {
  return (lane) =>
    withPinnedPages(lane, files, "read", async (io) => {
      const before = io.pages.map((page) => Buffer.from(page));
      lane.enter("sending pinned pages through a socket");
      const arrived = await loopback.send(io.pin.buffers, choosePace(lane.random));
      judgeSentOut(io, before, arrived);
      io.conclude("pagesToSocket");
    });
}
