// Crashes at every moment of growing, with files made on the way, and with every content that they may leave on the
// medium: the volume is whole, has a size that it had, and nothing that was promised is missing.
// HOLDFAST_CRASH_STATES: how many to try, at least.

import { mkdirSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { mountSync, type Volume } from "../../src/index.ts";
import {
  canLoopMount,
  e2fsckClean,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";
import { type CrashState, crashStates, record } from "./recorder.ts";
import { randomFrom, SEED } from "../support/random.ts";
import { endTurn } from "../support/turns.ts";

const STATES = Number(process.env["HOLDFAST_CRASH_STATES"] ?? 2400);
const REGION_BYTES = 2 ** 25;
const E2FSCK_EVERY = 4;
const KERNEL_EVERY = 25;
/** About so many there are for each volume, most of them of the unmount. */
const STATES_THERE = 200;
const BLOCK = 1024;
const BLOCKS = 5_500;
const BLOCKS_GROWN = 22_700;

interface Played {
  readonly events: ReturnType<typeof record>;
  /** Blocks of the volume before, and after each step. */
  readonly sizes: readonly number[];
  /** Files that were durable at each mark; the last mark: growing has returned. */
  readonly marks: number;
}

/** A directory of the root, for these are spread over the groups, and a file in it, made durable. */
function addFile(volume: Volume, index: number): void {
  volume.mkdirSync(`/directory${index}`);
  using file = volume.openSync(`/directory${index}/file`, "w");
  file.writeFileSync(contentOf(index));
  file.syncSync();
}

function contentOf(index: number): Buffer {
  return Buffer.alloc(5000, `file ${index} `);
}

/** Grows the volume; a file is made after each step, and marked when it is durable. */
function play(image: string): Played {
  const sizes = [BLOCKS];
  let marks = 0;
  const events = record(image, (mark) => {
    const volume = mountSync(image, { regionBytes: REGION_BYTES });
    const addMarked = () => {
      addFile(volume, marks);
      mark(marks++);
    };
    addMarked();
    const onProgress = ({ size }: { size: number }) => {
      sizes.push(size / BLOCK);
      addMarked();
    };
    volume.growSync(BLOCKS_GROWN * BLOCK, { onProgress });
    mark(marks++);
    volume.closeSync();
  });
  return { events, sizes, marks };
}

/** Throws unless the volume in `image` is one that the crash may leave. Returns its blocks. */
function expectAllowed(image: string, crash: CrashState, played: Played): number {
  const head = runOk("dumpe2fs", ["-h", image]);
  const blocks = Number(/^Block count: +(\d+)$/m.exec(head)?.[1]);
  const isDone = crash.mark === played.marks - 1;
  // A file that is durable was made after its step.
  const from = isDone ? played.sizes.length - 1 : crash.mark;
  expect(played.sizes.slice(from)).toContain(blocks);
  return blocks;
}

function expectFiles(crash: CrashState, played: Played, read: (path: string) => Uint8Array): void {
  const files = Math.min(crash.mark + 1, played.marks - 1);
  for (let index = 0; index < files; index++) {
    const found = Buffer.from(read(`/directory${index}/file`));
    expect(found.equals(contentOf(index)), `file ${index}`).toBe(true);
  }
}

describe.each([
  { name: "resize_inode, 64bit, metadata_csum, flex_bg", args: [] },
  {
    name: "no flex_bg, ^64bit, uninit_bg",
    args: ["-O", "^flex_bg,^64bit,^metadata_csum,uninit_bg"],
  },
  { name: "ext3", args: ["-t", "ext3"] },
  { name: "meta_bg", args: ["-O", "meta_bg,^resize_inode"] },
  { name: "meta_bg on the way, without resize_inode", args: ["-O", "^resize_inode"] },
  { name: "meta_bg on the way, with resize_inode", args: ["-E", "resize=8500"] },
])("a crash while a volume grows that has $name", ({ args }) => {
  skipUnless("mkfs.ext4", "e2fsck", "dumpe2fs")(
    "leaves a whole volume of a size on the way",
    { timeout: 3_600_000 },
    async () => {
      using directory = temporaryDirectory();
      const [image, state] = [directory.file("image"), directory.file("state")];
      const geometry = ["-b", String(BLOCK), "-g", "512", "-N", "352", "-J", "size=1"];
      // All that is reserved changes in one transaction, which the smallest journal is to have room for.
      const reserve = args.join(" ").includes("resize") ? [] : ["-E", "resize=40000"];
      mkfsExt4(image, BLOCKS * BLOCK, [...geometry, ...reserve, ...args]);
      // The device is larger than the volume: what a crash leaves has one size.
      truncateSync(image, BLOCKS_GROWN * BLOCK);
      const base = readFileSync(image);
      const played = play(image);
      expect(played.sizes.at(-1)).toBe(BLOCKS_GROWN);
      expect(played.sizes.length).toBeGreaterThan(3);
      expect(e2fsckClean(image)).toMatchObject({ clean: true });
      const random = randomFrom(SEED);
      const limits = { exhaustive: 16, random: 4 };
      const tally = { states: 0, e2fsck: 0, kernel: 0, sizes: new Set<number>() };
      // Some of them, evenly: each takes three checks by e2fsck.
      const part = Math.min(1, STATES / 96 / STATES_THERE);
      const mayMount = canLoopMount();
      mkdirSync(directory.file("mnt"));
      for (const crash of crashStates(base, played.events, limits, random)) {
        if (random.fraction() >= part) continue;
        try {
          tally.sizes.add(verifyOwn(state, crash, played));
          if (tally.states % E2FSCK_EVERY === 0) {
            verifyByE2fsck(state, crash, played);
            tally.e2fsck++;
          }
          if (mayMount && tally.states % KERNEL_EVERY === 0) {
            verifyByKernel(state, directory.file("mnt"), crash, played);
            tally.kernel++;
          }
        } catch (cause) {
          throw new Error(crash.what.slice(0, 500), { cause });
        }
        tally.states++;
        await endTurn();
      }
      const sizes = [...tally.sizes].toSorted((one, other) => one - other);
      process.stdout.write(
        `crash states of growing, ${args.join(" ")}: ${JSON.stringify({ ...tally, sizes })}\n`,
      );
    },
  );
});

/** By our own mount. Returns the volume's blocks. */
function verifyOwn(path: string, crash: CrashState, played: Played): number {
  writeFileSync(path, crash.image);
  const volume = mountSync(path, { regionBytes: REGION_BYTES });
  expect(volume.readOnlyReason).toBe(null);
  expectFiles(crash, played, (file) => volume.readFileSync(file));
  volume.closeSync();
  const { clean, output } = e2fsckClean(path);
  expect(clean ? "" : output).toBe("");
  const blocks = expectAllowed(path, crash, played);
  // It grows on from there.
  const again = mountSync(path, { regionBytes: REGION_BYTES });
  expect(again.growSync()).toBe(BLOCKS_GROWN * BLOCK);
  again.closeSync();
  const { clean: isClean, output: said } = e2fsckClean(path);
  expect(isClean ? "" : said).toBe("");
  return blocks;
}

function verifyByE2fsck(path: string, crash: CrashState, played: Played): void {
  writeFileSync(path, crash.image);
  const { code, stdout } = run("e2fsck", ["-f", "-y", path]);
  expect(code === 0 ? "" : stdout).toBe("");
  expectAllowed(path, crash, played);
}

function verifyByKernel(path: string, place: string, crash: CrashState, played: Played): void {
  writeFileSync(path, crash.image);
  {
    using _mount = loopMount(path, place);
    expectFiles(crash, played, (file) => readFileSync(place + file));
  }
  expectAllowed(path, crash, played);
}
