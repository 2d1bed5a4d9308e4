// A write that is ended on the way tells what it has written, and has finished that.
import { expect, it } from "vitest";
import { readFile, writeFile } from "../../src/dax/file-io.ts";
import { type Mapping, sizeOf } from "../../src/mapping/mapping.ts";
import { MetadataCache } from "../../src/metadata/cache.ts";
import { takeTransaction } from "../../src/metadata/transaction.ts";
import { runBlocking } from "../../src/sync/runners.ts";
import { Thread } from "../../src/sync/thread.ts";
import { type Core, ramCore } from "../support/core.ts";

const BLOCK = 4096;
const HALF = BLOCK / 2;

/** A file of `length` ones. */
function makeFile(core: Core, length: number): Mapping {
  const file = core.makeFile("file");
  core.run((task) => writeFile(task, core.dax, file, new Uint8Array(length).fill(1), 0));
  return file;
}

/** Opens the volume's transaction as another thread; until what it returns is called, every other one waits. */
function openTransaction({ region, dax }: Core): () => void {
  const other = Thread.join(region);
  const cache = MetadataCache.attach(other, dax.device);
  const transaction = runBlocking(other, (task) => takeTransaction(task, cache));
  return () => transaction.abort();
}

/** Writes a block's length of twos; its program is interrupted when it waits for a transaction. */
function writeTwos(core: Core, file: Mapping, at: number | "append"): number {
  const letGo = openTransaction(core);
  const isInterrupted = (): boolean => {
    letGo();
    return true;
  };
  const source = new Uint8Array(BLOCK).fill(2);
  return core.run((task) => writeFile(task, core.dax, file, source, at), { isInterrupted });
}

/** Of each half of a block, what all of its bytes are. */
function contentOf({ run, dax }: Core, file: Mapping): number[] {
  const bytes = new Uint8Array(sizeOf(dax.thread, file));
  run((task) => readFile(task, dax, file, bytes, 0));
  const halves = Array.from({ length: bytes.length / HALF }, (_, half) =>
    bytes.subarray(half * HALF, (half + 1) * HALF),
  );
  return halves.map((half) => (new Set(half).size === 1 ? (half[0] ?? Number.NaN) : Number.NaN));
}

it("a write whose program is interrupted on the way tells what it has written", () => {
  const core = ramCore(2 ** 22);
  const file = makeFile(core, BLOCK);
  expect(writeTwos(core, file, HALF)).toBe(HALF);
  expect(contentOf(core, file)).toEqual([1, 2]);
});

it("what it has written at the file's end is the file's", () => {
  const core = ramCore(2 ** 22);
  const file = makeFile(core, HALF);
  expect(writeTwos(core, file, "append")).toBe(HALF);
  expect(contentOf(core, file)).toEqual([1, 2]);
});

it("a write that is interrupted before it has written anything fails", () => {
  const core = ramCore(2 ** 22);
  const file = makeFile(core, BLOCK);
  expect(() => writeTwos(core, file, "append")).toThrow(expect.objectContaining({ code: "EINTR" }));
  expect(contentOf(core, file)).toEqual([1, 1]);
});
