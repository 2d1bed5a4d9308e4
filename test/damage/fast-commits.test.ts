// Fast commits that are torn or damaged, and such that say what cannot be: what was never finished ends the replay
// quietly, what was promised and is damaged is told of by its place, and nothing is changed then. Whatever records say,
// the answer is a volume or an error.
//
// HOLDFAST_FAST_COMMIT_COUNT: how many records are changed.

import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { describe, expect } from "vitest";
import { crc32c } from "../../src/base/checksum.ts";
import { findJournal } from "../../src/drivers/ext/jbd2/open.ts";
import { Log } from "../../src/drivers/ext/jbd2/log.ts";
import { parseSuperblock } from "../../src/drivers/ext/superblock.ts";
import { fsckSync, HoldfastError, mountSync } from "../../src/index.ts";
import { comparable, kernelTree } from "../crash/fast-commit-work.ts";
import { differences, kernelPlace, type Tree, treeOf, volumePlace } from "../interop/trees.ts";
import {
  e2fsckClean,
  loopMount,
  mkfsExt4,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";
import { randomFrom, SEED } from "../support/random.ts";

const COUNT = Number(process.env["HOLDFAST_FAST_COMMIT_COUNT"] ?? 80);
const REGION_BYTES = 2 ** 26;
const BLOCK = 4096;
const COMMITS = 8;

const HEAD = 9;
const TAIL = 8;

interface Base {
  readonly bytes: Buffer;
  /** After so many fast commits. */
  readonly trees: readonly Tree[];
  /** Device bytes of the area's blocks. */
  readonly blocks: readonly number[];
  /** The block of a file that no fast commit is about. */
  readonly third: number;
}

function syncFile(path: string): void {
  const file = openSync(path, "r+");
  fsyncSync(file);
  closeSync(file);
}

/** A volume whose journal ends in fast commits, of a block each; the one of `wide`, if asked, has several. */
function makeBase(wide: number | null): Base {
  using directory = temporaryDirectory();
  const [image, root] = [directory.file("image"), directory.file("mnt")];
  mkfsExt4(image, 16 << 20, ["-b", `${BLOCK}`, "-O", "fast_commit", "-N", "1024"]);
  mkdirSync(root);
  using _mounted = loopMount(image, root);
  mkdirSync(`${root}/d`);
  for (const name of ["old", "other", "third"]) writeFileSync(`${root}/d/${name}`, name);
  runOk("sync", ["-f", root]);
  const trees = [treeOf(kernelPlace(root))];
  for (let commit = 0; commit < COMMITS; commit++) {
    if (commit === wide) {
      // Names alone: their inodes are of files without content.
      for (let index = 0; index < 30; index++) {
        closeSync(openSync(`${root}/d/${"wide".repeat(30)}${index}`, "w"));
      }
    }
    const path = `${root}/d/file${commit}`;
    writeFileSync(path, Buffer.alloc(3000 * (commit + 1), `${commit}`));
    if (commit === 3) renameSync(`${root}/d/old`, `${root}/d/new`);
    if (commit === 5) unlinkSync(`${root}/d/other`);
    syncFile(path);
    trees.push(treeOf(kernelPlace(root)));
  }
  const bytes = readFileSync(image);
  const device = {
    size: bytes.length,
    copyOut: (at: number, target: Uint8Array) => target.set(bytes.subarray(at, at + target.length)),
    copyIn: () => {},
  };
  const facts = parseSuperblock(bytes.subarray(1024, 2048), bytes.length);
  const { facts: journal } = findJournal(facts, device);
  const log = new Log(journal, device);
  const blocks = Array.from({ length: journal.fastCommitBlocks }, (_, index) =>
    log.byteOf(journal.fastCommitFirst + index),
  );
  const copy = directory.file("copy");
  writeFileSync(copy, bytes);
  runOk("debugfs", ["-w", "-R", "journal_run", copy]);
  const third = Number(/^\d+$/m.exec(runOk("debugfs", ["-R", "bmap d/third 0", copy]))![0]);
  return { bytes, trees, blocks, third };
}

interface Found {
  readonly at: number;
  readonly tag: number;
  readonly length: number;
}

/** The records of a block, up to its tail. */
function recordsOf(bytes: Buffer, block: number): Found[] {
  const found: Found[] = [];
  for (let at = block; at + 4 <= block + BLOCK; ) {
    const record = { at, tag: bytes.readUInt16LE(at), length: bytes.readUInt16LE(at + 2) };
    found.push(record);
    if (record.tag === TAIL) break;
    at += 4 + record.length;
  }
  return found;
}

/** Puts the checksum of a fast commit of one block right. */
function seal(bytes: Buffer, block: number): void {
  const tail = recordsOf(bytes, block).at(-1)!;
  bytes.writeUInt32LE(crc32c(0, bytes.subarray(block, tail.at + 8)), tail.at + 8);
}

type Outcome = { readonly tree: Tree; readonly reason: string | null } | HoldfastError;

/** What a mount for writing makes of an image; and where that is refused, that nothing has changed. */
function outcomeOf(path: string, bytes: Buffer): Outcome {
  writeFileSync(path, bytes);
  try {
    const volume = mountSync(path, { regionBytes: REGION_BYTES });
    try {
      return { tree: treeOf(volumePlace(volume)), reason: volume.readOnlyReason };
    } finally {
      volume.closeSync();
    }
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    if (error.syscall === "mount") expect(readFileSync(path).equals(bytes)).toBe(true);
    return error;
  }
}

const wrongWith = (found: Tree, expected: Tree): string[] =>
  differences(comparable(expected, true), comparable(found, true), ["atime"]);

const withKernel = skipUnless("root", "loop mounts", "mkfs.ext4", "e2fsck");

let plain: Base | null = null;
const plainBase = (): Base => (plain ??= makeBase(null));

describe("a fast commit that is the last", () => {
  withKernel("was never finished where any of its bytes is wrong: those before count", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const { bytes, trees, blocks } = plainBase();
    const whole = outcomeOf(path, bytes);
    expect("tree" in whole && wrongWith(whole.tree, trees[COMMITS]!)).toEqual([]);
    const random = randomFrom(SEED);
    const last = blocks[COMMITS - 1]!;
    const end = recordsOf(bytes, last).at(-1)!.at + 12;
    for (let count = 0; count < 40; count++) {
      const torn = Buffer.from(bytes);
      const at = last + random.below(end - last);
      const how = random.below(3);
      if (how === 0) torn[at] = torn[at]! ^ (1 << random.below(8));
      else if (how === 1) torn.fill(0, at, last + BLOCK);
      else torn.fill(0, last, at + 1);
      if (torn.equals(bytes)) continue;
      const outcome = outcomeOf(path, torn);
      if (outcome instanceof HoldfastError) throw outcome;
      expect(outcome.reason).toBe(null);
      expect(wrongWith(outcome.tree, trees[COMMITS - 1]!), `${how} at ${at - last}`).toEqual([]);
      expect(e2fsckClean(path)).toMatchObject({ clean: true });
    }
  });

  withKernel("and the first, ends the replay quietly, too", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const { bytes, trees, blocks } = plainBase();
    const torn = Buffer.from(bytes);
    for (const block of blocks.slice(1)) torn.fill(0, block, block + BLOCK);
    const tail = recordsOf(torn, blocks[0]!).at(-1)!;
    torn.fill(0, tail.at, tail.at + 12);
    const outcome = outcomeOf(path, torn);
    expect("tree" in outcome && wrongWith(outcome.tree, trees[0]!)).toEqual([]);
    expect(e2fsckClean(path)).toMatchObject({ clean: true });
  });

  withKernel("may have several blocks, and counts when all are whole", { timeout: 300_000 }, () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const { bytes, trees, blocks } = makeBase(COMMITS - 1);
    const used = blocks.findLastIndex((block) => bytes.readUInt16LE(block) !== 0);
    expect(used - (COMMITS - 1)).toBeGreaterThan(1);
    const whole = outcomeOf(path, bytes);
    expect("tree" in whole && wrongWith(whole.tree, trees[COMMITS]!)).toEqual([]);
    expect(e2fsckClean(path)).toMatchObject({ clean: true });
    writeFileSync(path, bytes);
    expect(wrongWith(kernelTree(path, directory.file("kernel"))!, trees[COMMITS]!)).toEqual([]);
    for (let index = COMMITS - 1; index <= used; index++) {
      const torn = Buffer.from(bytes);
      torn.fill(0, blocks[index]!, blocks[index]! + BLOCK);
      const outcome = outcomeOf(path, torn);
      expect("tree" in outcome && wrongWith(outcome.tree, trees[COMMITS - 1]!)).toEqual([]);
    }
  });
});

describe("a fast commit that others follow", () => {
  withKernel("is damaged where any of its bytes is wrong: refused, and told by its place", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const { bytes, blocks } = plainBase();
    const random = randomFrom(SEED + 1);
    for (let count = 0; count < 40; count++) {
      const damaged = Buffer.from(bytes);
      const block = blocks[count < 10 ? 0 : random.below(COMMITS - 1)]!;
      const end = recordsOf(bytes, block).at(-1)!.at + 12;
      const at = block + random.below(end - block);
      damaged[at] = damaged[at]! ^ (1 << random.below(8));
      const outcome = outcomeOf(path, damaged);
      // The length of a tail says only where the block ends.
      const tail = recordsOf(bytes, block).at(-1)!.at;
      if (at === tail + 2 || at === tail + 3) continue;
      expect(outcome, `byte ${at - block}`).toBeInstanceOf(HoldfastError);
      expect(outcome).toMatchObject({ code: "EUCLEAN", damage: { structure: "fast commit" } });
      const { deviceByte } = (outcome as unknown as { damage: { deviceByte: number } }).damage;
      expect(deviceByte).toBeGreaterThanOrEqual(block);
      expect(deviceByte).toBeLessThanOrEqual(block + BLOCK);
      expect(() => mountSync(path, { readOnly: true })).toThrow(/fast commit/);
      const report = fsckSync(path);
      expect(report.findings.map(({ code }) => code)).toContain("journal-log");
    }
  });
});

/** What a record may say that cannot be: `of` is the tag of the record that is changed. */
const CANNOT_BE: readonly {
  readonly name: string;
  readonly of: number;
  readonly change: (bytes: Buffer, value: number, base: Base) => void;
  readonly says: RegExp;
}[] = [
  {
    name: "a range in the volume's own blocks",
    of: 1,
    change: (bytes, value) => bytes.writeUInt32LE(1, value + 4 + 8),
    says: /block.*own structures/,
  },
  {
    name: "a range behind the volume",
    of: 1,
    change: (bytes, value) => bytes.writeUInt16LE(7, value + 4 + 6),
    says: /outside the volume/,
  },
  {
    name: "a range of no blocks",
    of: 1,
    change: (bytes, value) => bytes.writeUInt16LE(0, value + 4 + 4),
    says: /ee_len is 0/,
  },
  {
    name: "a range of another file",
    of: 1,
    change: (bytes, value, { third }) => bytes.writeUInt32LE(third, value + 4 + 8),
    says: /ee_start is \d+, expected blocks that are free/,
  },
  {
    name: "an inode that no file has",
    of: 6,
    change: (bytes, value) => bytes.writeUInt32LE(0xffffffff, value),
    says: /fc_ino is 4294967295/,
  },
  {
    name: "the journal's inode",
    of: 6,
    change: (bytes, value) => bytes.writeUInt32LE(8, value),
    says: /fc_ino is 8/,
  },
  {
    name: "an inode of no type",
    of: 6,
    change: (bytes, value) => bytes.writeUInt16LE(0x3000, value + 4),
    says: /i_mode/,
  },
  {
    name: "a name with a slash",
    of: 3,
    change: (bytes, value) => bytes.writeUInt8(0x2f, value + 9),
    says: /fc_dname/,
  },
  {
    name: "a directory that is a file",
    of: 3,
    change: (bytes, value) => bytes.writeUInt32LE(bytes.readUInt32LE(value + 4), value),
    says: /fc_parent_ino/,
  },
];

describe("a whole fast commit", () => {
  withKernel.each(CANNOT_BE)("with $name is refused", ({ of, change, says }) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const base = plainBase();
    const changed = Buffer.from(base.bytes);
    const block = base.blocks[2]!;
    const record = recordsOf(changed, block).find(({ tag }) => tag === of)!;
    change(changed, record.at + 4, base);
    seal(changed, block);
    const outcome = outcomeOf(path, changed);
    expect(outcome).toMatchObject({ code: "EUCLEAN" });
    expect((outcome as HoldfastError).message).toMatch(says);
  });

  withKernel("with features that are not known is passed over: the volume is only read", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const { bytes, trees, blocks } = plainBase();
    const changed = Buffer.from(bytes);
    const head = recordsOf(changed, blocks[0]!)[0]!;
    expect(head.tag).toBe(HEAD);
    changed.writeUInt32LE(0x10, head.at + 4);
    seal(changed, blocks[0]!);
    const outcome = outcomeOf(path, changed);
    if (outcome instanceof HoldfastError) throw outcome;
    expect(outcome.reason).toMatch(/fast commits use features that are not supported: 0x10/);
    expect(wrongWith(outcome.tree, trees[0]!)).toEqual([]);
    expect(fsckSync(path).notices.map(({ code }) => code)).toContain("fast-commits");
  });

  withKernel(
    "of which a record is changed gives a volume, or an error",
    { timeout: 600_000 },
    () => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const { bytes, blocks } = plainBase();
      const outcomes = new Map<string, number>();
      for (let number = 0; number < COUNT; number++) {
        const random = randomFrom(SEED * 1_000_000 + number);
        const changed = Buffer.from(bytes);
        for (let count = 1 + random.below(3); count > 0; count--) {
          const block = blocks[random.below(COMMITS)]!;
          const records = recordsOf(changed, block).slice(0, -1);
          const { at, length } = random.pick(records);
          const byte = at + 4 + random.below(length);
          changed[byte] = random.pick([0, 1, 0xff, random.below(256), changed[byte]! ^ 0x80]);
          seal(changed, block);
        }
        const outcome = outcomeOf(path, changed);
        let told = outcome instanceof HoldfastError ? outcome.code : "a volume";
        if (told === "a volume" && !e2fsckClean(path).clean) told = "a volume that e2fsck repairs";
        outcomes.set(told, (outcomes.get(told) ?? 0) + 1);
        if (outcome instanceof HoldfastError) {
          expect(["EUCLEAN", "EIO"], outcome.message).toContain(outcome.code);
        }
      }
      process.stdout.write(
        `${COUNT} changed fast commits: ${[...outcomes].map((each) => each.join(" ")).join("; ")}\n`,
      );
      expect(outcomes.get("a volume") ?? 0).toBeGreaterThan(0);
      expect(outcomes.get("EUCLEAN") ?? 0).toBeGreaterThan(0);
    },
  );
});
