// Fields anywhere in the metadata of ext3 volumes, and of such with features that the driver does not write: one
// or two are changed, and our check and e2fsck -fn agree whether the volume is clean, but for stated differences.
//
// HOLDFAST_FSCK_COUNT: images of each sort.

import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { describe, expect } from "vitest";
import { type Random, randomFrom, SEED } from "../support/random.ts";
import { skipUnless } from "../support/tools.ts";
import { differencesMet, disagreement } from "./agreement.ts";
import { type Base, DamagedImage } from "./images.ts";
import { referee } from "./referee.ts";

const COUNT = Number(process.env["HOLDFAST_FSCK_COUNT"] ?? 150);
const BASES: readonly Base[] = ["ext3", "inline", "values", "orphan-file", "groups", "quotas"];

const BLOCK = 1024;
const JOURNAL_MAGIC = 0xc03b3998;

/** Blocks that hold something, and neither a file's content nor the journal's log. */
function metadataBlocks(image: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at < image.length; at += BLOCK) {
    const block = image.subarray(at, at + BLOCK);
    if (block.every((byte) => byte === 0)) continue;
    const isContent = /^(content |few byte|value )/.test(block.toString("latin1", 0, 8));
    if (!isContent && block.readUInt32BE(0) !== JOURNAL_MAGIC) found.push(at);
  }
  return found;
}

interface Change {
  readonly byte: number;
  readonly bytes: Buffer;
  readonly story: string;
}

function changeOf(image: Buffer, blocks: readonly number[], random: Random): Change {
  const start = random.pick(blocks);
  let at = 0;
  for (let tries = 0; tries < 20; tries++) {
    at = random.below(BLOCK / 4) * 4;
    // Most of a block is often zeroes, of which few mean something.
    if (image.readUInt32LE(start + at) !== 0 || random.below(8) === 0) break;
  }
  const size = random.pick([1, 2, 4, 4]);
  at += random.below(4 / size) * size;
  const old = image.readUIntLE(start + at, size);
  const flipped = () => old ^ (1 << random.below(8 * size));
  const value = random.pick([
    ...[0, 1, 2, 7, 8, 11, 0x7f, 0x80, 0xff, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0xffffffff],
    ...[old + 1, old - 1, flipped(), flipped(), flipped()],
    ...[random.below(2 ** 32), random.below(image.length / BLOCK), start / BLOCK],
  ]);
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  const story = `byte ${at} of block ${start / BLOCK}, ${size} bytes: ${old} becomes ${value >>> 0}`;
  return { byte: start + at, bytes: bytes.subarray(0, size), story };
}

describe.each(BASES)("%s", (base) => {
  skipUnless("mke2fs", "debugfs", "e2fsck")(
    "each changed image is clean to both or to neither",
    () => {
      using image = new DamagedImage(base);
      const bytes = readFileSync(image.path);
      const blocks = metadataBlocks(bytes);
      const verdicts = new Map<string, number>();
      const differences = new Map<string, number>();
      const wrong: string[] = [];
      const file = openSync(image.path, "r+");
      for (let number = 0; number < COUNT; number++) {
        const random = randomFrom(SEED * 1_000_000 + number);
        const changes = Array.from({ length: random.pick([1, 1, 1, 2]) }, () =>
          changeOf(bytes, blocks, random),
        );
        for (const change of changes)
          writeSync(file, change.bytes, 0, change.bytes.length, change.byte);
        const refereed = referee(image.path);
        const verdict = `ours ${refereed.ours}, e2fsck ${refereed.theirs}`;
        verdicts.set(verdict, (verdicts.get(verdict) ?? 0) + 1);
        const problem = disagreement(refereed, differences);
        const story = changes.map((change) => change.story).join("; ");
        if (problem !== null) wrong.push(`#${number} ${story}\n${problem}`);
        for (const { byte, bytes: changed } of changes) {
          writeSync(file, bytes, byte, changed.length, byte);
        }
      }
      closeSync(file);
      process.stdout.write(
        `${COUNT} changed images, ${base}: ` +
          `${[...verdicts].map(([verdict, count]) => `${count} ${verdict}`).join("; ")}\n` +
          differencesMet(differences),
      );
      expect(wrong.join("\n\n")).toBe("");
    },
    600_000,
  );
});
