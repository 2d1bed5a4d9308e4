// Random programs, run by the kernel on one image, by Holdfast on another like it, and on a third by both in turn:
// every operation has the same answer or the same error, and after each batch the trees are the same, byte by byte
// and fact by fact, and e2fsck finds nothing on any.
// HOLDFAST_DIFFERENTIAL: programs for each kind of volume.

import { copyFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { endTurn } from "../support/turns.ts";
import type { Volume } from "../../src/index.ts";
import { type Batch, onKernel, OWN, runBatch } from "./batches.ts";
import {
  attributeStep,
  fallocateStep,
  type Filesystem,
  named,
  onVolume,
  populating,
  type Step,
  steps,
} from "./calls.ts";
import { Handed, needs } from "./handed.ts";
import {
  differences,
  kernelPlace,
  type Place,
  type Seen,
  type Tree,
  volumePlace,
} from "./trees.ts";

const PROGRAMS = Number(process.env["HOLDFAST_DIFFERENTIAL"] ?? 6);
const VOLUME_BYTES = 64 * 2 ** 20;
/** No file has anything so far behind its end. */
const NOWHERE = 2 ** 30;

const batch = fc.array(
  fc.oneof(...steps, fallocateStep, fallocateStep, fallocateStep, attributeStep(), attributeStep()),
  { minLength: 1, maxLength: 100, size: "max" },
);
/** What random programs have found to differ, in a few steps. */
const found: readonly (readonly Step[])[] = [
  [
    named("empty b", (on) => on.truncate("b", 0)),
    named("allocate beyond its end", (on) => on.fallocate("b", "keep-size", 0, 1)),
    named("allocate far beyond its end", (on) => on.fallocate("b", "keep-size", 1_000_000, 9000)),
    named("truncate b to its size", (on) => on.truncate("b", 0)),
    named("make b larger", (on) => on.truncate("b", 1_008_000)),
  ],
];
const program = fc.array(batch, { minLength: 1, maxLength: 4, size: "max" });

/**
 * Ours. The kernel ends a hole with the block that has the file's end, and keeps what lies behind; we give that back.
 * A file that grows later would have those blocks or not: so a hole is asked for here as the kernel makes it.
 */
function onOurs(volume: Volume, blockSize: number): Filesystem {
  const on = onVolume(volume);
  return {
    ...on,
    fallocate(path, mode, offset, length) {
      if (mode !== "punch-hole") return on.fallocate(path, mode, offset, length);
      using file = volume.openSync(`/${path}`, "r+");
      const { size } = file.statSync();
      const end = Math.ceil(size / blockSize) * blockSize;
      if (offset >= size) return file.fallocateSync(mode, NOWHERE, length);
      return file.fallocateSync(mode, offset, Math.min(length, end - offset));
    },
  };
}

class Contestant implements Disposable {
  readonly handed = new Handed();
  readonly [Symbol.dispose] = (): void => this.handed[Symbol.dispose]();

  readonly #blockSize: number;

  constructor(base: string, blockSize: number) {
    this.#blockSize = blockSize;
    copyFileSync(base, this.handed.image);
  }

  byHoldfast(batch: readonly Step[]): Batch {
    return this.handed.toHoldfast("a batch of ours", (volume) =>
      runBatch(onOurs(volume, this.#blockSize), volumePlace(volume), batch),
    );
  }

  byKernel(batch: readonly Step[]): Batch {
    return this.handed.toKernel("a batch of the kernel's", (root) => {
      const done = runBatch(onKernel(root), kernelPlace(root), batch);
      // What it counts as a file's blocks is final when they have been chosen.
      runOk("sync", ["-f", root]);
      return { ...done, tree: withBlocks(done.tree, kernelPlace(root)) };
    });
  }
}

function withBlocks(tree: Tree, place: Place): Tree {
  const at = (path: string): Buffer => Buffer.from(path === "" ? "/" : path, "latin1");
  return new Map(
    [...tree].map(([path, seen]) => [path, { ...seen, blocks: place.facts(at(path)).blocks }]),
  );
}

/** How many blocks a file has below its end. */
function dataBlocks(image: string, { ino, size }: Seen, blockSize: number): number {
  const told = runOk("debugfs", ["-R", `stat <${ino}>`, image]);
  let count = 0;
  for (const [, from, to] of told.matchAll(/\((\d+)(?:\[u\])?(?:-(\d+)(?:\[u\])?)?\):\d/g)) {
    const last = Math.min(Number(to ?? from), Math.ceil(size / blockSize) - 1);
    count += Math.max(0, last - Number(from) + 1);
  }
  return count;
}

/**
 * Files of which both have not the same blocks, but for those that name others, since how extents lie may differ,
 * and those beyond the end, which the kernel keeps when a hole is punched there.
 */
function differentBlocks(
  expected: Contestant,
  wanted: Tree,
  actual: Contestant,
  seen: Tree,
  blockSize: number,
): string[] {
  const found: string[] = [];
  for (const [path, file] of wanted) {
    const other = seen.get(path)!;
    if ((file.mode & 0o170000) === 0o040000 || file.blocks === other.blocks) continue;
    const want = dataBlocks(expected.handed.image, file, blockSize);
    const have = dataBlocks(actual.handed.image, other, blockSize);
    if (want !== have) found.push(`${path}: ${have} blocks of data, expected ${want}`);
  }
  return found;
}

describe.each(
  ["ext2", "ext3", "ext4"].flatMap((type) =>
    [1024, 2048, 4096].map((blockSize) => [type, blockSize] as const),
  ),
)("%s, blocks of %i bytes", (type, blockSize) => {
  skipUnless(...needs)(
    "random programs answer as they do in the kernel, and leave the same tree",
    { timeout: 3_600_000 },
    async () => {
      using directory = temporaryDirectory();
      const base = directory.file("base");
      mkfsExt4(base, VOLUME_BYTES, ["-t", type, "-b", `${blockSize}`, "-N", "1024"]);
      const tally = { programs: 0, batches: 0, operations: 0, errors: 0, files: 0 };
      const run = async (batches: readonly (readonly Step[])[]): Promise<void> => {
        await endTurn();
        using kernel = new Contestant(base, blockSize);
        using ours = new Contestant(base, blockSize);
        using turns = new Contestant(base, blockSize);
        for (const [index, batch] of [populating, ...batches].entries()) {
          const expected = kernel.byKernel(batch);
          const results = [
            [ours, ours.byHoldfast(batch)],
            [turns, index % 2 === 0 ? turns.byHoldfast(batch) : turns.byKernel(batch)],
          ] as const;
          for (const [contestant, { answers, tree }] of results) {
            expect(answers).toEqual(expected.answers);
            expect(differences(expected.tree, tree, OWN)).toEqual([]);
            const blocks = differentBlocks(kernel, expected.tree, contestant, tree, blockSize);
            expect(blocks).toEqual([]);
          }
          tally.batches++;
          tally.operations += batch.length;
          tally.errors += expected.answers.filter(([, answer]) => "code" in answer).length;
          tally.files += expected.tree.size;
        }
        tally.programs++;
      };
      await fc.assert(fc.asyncProperty(program, run), {
        examples: [[found]],
        numRuns: 1 + PROGRAMS,
        // Programs that fail are made shorter no longer than this.
        interruptAfterTimeLimit: 60_000 + PROGRAMS * 5000,
      });
      process.stdout.write(`${type}, blocks of ${blockSize}: ${JSON.stringify(tally)}\n`);
    },
  );
});
