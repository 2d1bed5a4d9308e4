// Fast commits of volumes whose log is nearly full: they become a transaction of the log all the same, if its last
// transaction leaves room for them; else the volume is only read.

import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { mountSync } from "../../src/index.ts";
import { findJournal } from "../../src/drivers/ext/jbd2/open.ts";
import { changeJournal, Log } from "../../src/drivers/ext/jbd2/log.ts";
import { readTransactions } from "../../src/drivers/ext/jbd2/scan.ts";
import { Jbd2Log } from "../../src/drivers/ext/jbd2/write.ts";
import { parseSuperblock } from "../../src/drivers/ext/superblock.ts";
import type { MetadataBlock } from "../../src/metadata/cache.ts";
import { randomFrom } from "../support/random.ts";
import { treeOf, volumePlace } from "../interop/trees.ts";
import { e2fsckClean, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { endTurn } from "../support/turns.ts";
import {
  type Crashed,
  crashesOf,
  differ,
  kernelTree,
  ourTree,
  recordRecovery,
  REGION_BYTES,
} from "./fast-commit-work.ts";
import { crashStates } from "./recorder.ts";

const SHAPE = { blockSize: 1024, sizeMiB: 12, args: ["-N", "128", "-J", "size=2"] };

/** An image in memory. */
function deviceOf(bytes: Buffer) {
  return {
    size: bytes.length,
    copyOut: (at: number, target: Uint8Array) => target.set(bytes.subarray(at, at + target.length)),
    copyIn: (at: number, source: Uint8Array) => bytes.set(source, at),
  };
}

/**
 * Writes the log of an image anew: before its last transaction come others, and `inLast` blocks in that, which hold
 * what is there anyway, so that `left` blocks of the ring stay free.
 */
function fillLog(image: string, left: number, inLast: boolean): void {
  const bytes = readFileSync(image);
  const device = deviceOf(bytes);
  const facts = parseSuperblock(bytes.subarray(1024, 2048), bytes.length);
  const { facts: journal, state } = findJournal(facts, device);
  const log = new Log(journal, device);
  const before = readTransactions(log, state.sequence, state.start).map((transaction) => ({
    ...transaction,
    blocks: transaction.images.map(({ block, at, isEscaped }) => {
      const content = new Uint8Array(journal.blockSize);
      log.read(at, content);
      if (isEscaped) new DataView(content.buffer).setUint32(0, 0xc03b3998);
      return { block, bytes: content, view: new DataView(content.buffer) };
    }),
  }));
  // What is there anyway: blocks that no transaction of the log has.
  const logged = new Set(before.flatMap(({ blocks }) => blocks.map(({ block }) => block)));
  const same: MetadataBlock[] = [];
  for (let block = facts.blocks - 1; same.length < 3000; block--) {
    if (logged.has(block)) continue;
    const content = new Uint8Array(journal.blockSize);
    device.copyOut(block * journal.blockSize, content);
    same.push({ block, bytes: content, view: new DataView(content.buffer) });
  }
  const writer = new Jbd2Log(journal, device, () => {});
  /** Blocks of the log with so many that hold what is there anyway. */
  const used = (extra: number): number =>
    before.reduce(
      (sum, { blocks, revoked }, index) => {
        const isFilled = inLast && index === before.length - 1;
        return sum + writer.blocksFor(blocks.length + (isFilled ? extra : 0), revoked.length);
      },
      inLast ? 0 : writer.blocksFor(extra, 0),
    );
  while (used(same.length) > writer.blocks - left) same.pop();
  let at = journal.first + 100;
  let sequence = state.sequence - (inLast ? 0 : 1);
  const first = { sequence, start: at };
  const put = (blocks: readonly MetadataBlock[], revoked: readonly number[]): void => {
    const recordAt = writer.write(sequence, at, blocks, revoked);
    writer.record(sequence, recordAt);
    sequence++;
    at = log.next(recordAt);
  };
  if (!inLast) put(same, []);
  for (const [index, { blocks, revoked }] of before.entries()) {
    put(inLast && index === before.length - 1 ? [...same, ...blocks] : blocks, revoked);
  }
  changeJournal(log, first);
  writeFileSync(image, bytes);
}

/** The one with the most fast commits that the kernel recovers, too. */
function withMost(crashes: readonly Crashed[], file: (name: string) => string): Crashed {
  const [most] = crashes
    .filter(({ image }) => {
      copyFileSync(image, file("tried"));
      return kernelTree(file("tried"), file("kernel")) !== null;
    })
    .toSorted((a, b) => b.fastCommits - a.fastCommits);
  expect(most?.fastCommits).toBeGreaterThan(0);
  return most!;
}

const withKernel = skipUnless("root", "loop mounts", "mkfs.ext4", "e2fsck", "fallocate");

describe("fast commits of a volume whose log is nearly full", () => {
  withKernel(
    "are recovered when the log's last transaction leaves room",
    { timeout: 600_000 },
    async () => {
      using directory = temporaryDirectory();
      const random = randomFrom(7);
      const [state, place] = [directory.file("state"), directory.file("kernel")];
      const crashes = crashesOf(directory, SHAPE, random, [6, 3, 3]);
      const { image, tree } = withMost(crashes, directory.file);
      fillLog(image, 10, false);
      copyFileSync(image, state);
      expect(differ(kernelTree(state, place)!, tree)).toEqual([]);
      expect(differ(ourTree(image, true), tree)).toEqual([]);
      copyFileSync(image, state);
      const events = recordRecovery(state);
      expect(differ(ourTree(state, true), tree)).toEqual([]);
      const limits = { exhaustive: 4, random: 1 };
      // There are thousands of states, of which most are of blocks that stay as they are.
      const all = crashStates(readFileSync(image), events, limits, random);
      let states = 0;
      for (const crash of all) {
        if (random.below(40) !== 0) continue;
        states++;
        await endTurn();
        writeFileSync(state, crash.image);
        if (states % 4 === 0)
          expect(differ(kernelTree(state, place)!, tree), crash.what).toEqual([]);
        else expect(differ(ourTree(state, false), tree), crash.what).toEqual([]);
        if (states % 4 !== 0) expect(e2fsckClean(state)).toMatchObject({ clean: true });
      }
      process.stdout.write(`a log that is nearly full: ${states} interrupted recoveries\n`);
      expect(states).toBeGreaterThan(20);
    },
  );

  withKernel("are recovered in memory when even its last transaction leaves no room", () => {
    using directory = temporaryDirectory();
    const crashes = crashesOf(directory, SHAPE, randomFrom(8), [6, 3, 3]);
    const { image, tree } = withMost(crashes, directory.file);
    fillLog(image, 4, true);
    const before = readFileSync(image);
    const volume = mountSync(image, { regionBytes: REGION_BYTES });
    expect(volume.readOnlyReason).toMatch(/fast commits change \d+ blocks, more than its journal/);
    expect(differ(treeOf(volumePlace(volume)), tree)).toEqual([]);
    volume.closeSync();
    expect(readFileSync(image).equals(before)).toBe(true);
  });
});
