// The orphan file: files that were deleted while they were open are named in it, as the kernel and e2fsck expect
// and as they do it; and volumes on which it is damaged.

import {
  closeSync,
  copyFileSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import fc from "fast-check";
import { describe, expect } from "vitest";
import { fsckSync, mountSync, type Volume } from "../../../src/index.ts";
import { DamagedImage } from "../../fsck/images.ts";
import { referee, shown } from "../../fsck/referee.ts";
import {
  e2fsckClean,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../../support/tools.ts";

const REGION_BYTES = 2 ** 26;
const SUPERBLOCK = 1024;
/** A file of two blocks: places for 508 inodes. */
const PLACES = 508;
const ARGS = ["-b", "1024", "-N", "1024", "-E", "orphan_file_size=2k", "-O", "orphan_file"];

const withTools = skipUnless("mkfs.ext4", "e2fsck", "debugfs");

/** What the orphan file of an image names, the list's head, and whether the superblock announces the file. */
function orphansOf(image: string): { file: number[]; list: number; isAnnounced: boolean } {
  const bytes = readFileSync(image);
  const ino = bytes.readUInt32LE(SUPERBLOCK + 0x280);
  const file: number[] = [];
  for (const index of [0, 1]) {
    const answer = runOk("debugfs", ["-R", `bmap <${ino}> ${index}`, image]);
    const block = bytes.subarray(Number(answer) * 1024, Number(answer) * 1024 + 1024 - 8);
    for (let at = 0; at < block.length; at += 4) {
      if (block.readUInt32LE(at) !== 0) file.push(block.readUInt32LE(at));
    }
  }
  return {
    file,
    list: bytes.readUInt32LE(SUPERBLOCK + 0xe8),
    isAnnounced: (bytes.readUInt32LE(SUPERBLOCK + 0x64) & 0x10000) !== 0,
  };
}

/** What a crash now would leave. */
function crashed(volume: Volume, image: string, copy: string): void {
  volume.syncSync();
  copyFileSync(image, copy);
}

/** A copy of which the journal was replayed, and nothing else done. */
function replayed(image: string, copy: string): string {
  copyFileSync(image, copy);
  runOk("debugfs", ["-w", "-R", "journal_run", copy]);
  return copy;
}

function deletedFiles(volume: Volume, count: number): { ino: number; close(): void }[] {
  return Array.from({ length: count }, (_, index) => {
    volume.writeFileSync(`/gone-${index}`, `gone ${index}`);
    const handle = volume.openSync(`/gone-${index}`, "r");
    const { ino } = handle.statSync();
    volume.unlinkSync(`/gone-${index}`);
    return { ino: Number(ino), close: () => handle.closeSync() };
  });
}

const sorted = (numbers: readonly number[]): number[] => [...numbers].sort((a, b) => a - b);

describe("an orphan file", () => {
  withTools("names what was deleted while it was open, and nobody after an unmount", () => {
    using directory = temporaryDirectory();
    const [image, copy, log] = ["image", "copy", "log"].map((name) => directory.file(name)) as [
      string,
      string,
      string,
    ];
    mkfsExt4(image, 24 << 20, ARGS);
    const volume = mountSync(image, { regionBytes: REGION_BYTES });
    const files = deletedFiles(volume, 5);
    files[1]!.close();
    crashed(volume, image, copy);
    const left = files.filter((_, index) => index !== 1);
    expect(orphansOf(replayed(copy, log))).toEqual({
      file: left.map(({ ino }) => ino),
      list: 0,
      isAnnounced: true,
    });
    for (const file of left) file.close();
    volume.closeSync();
    expect(orphansOf(image)).toEqual({ file: [], list: 0, isAnnounced: false });
    expect(e2fsckClean(image)).toMatchObject({ clean: true });

    // The mount after a crash frees them, as e2fsck does.
    const free = mountSync(image, { regionBytes: REGION_BYTES, readOnly: true });
    const inodesFree = free.statfsSync().ffree;
    free.closeSync();
    const next = mountSync(copy, { regionBytes: REGION_BYTES });
    expect(next.readOnlyReason).toBe(null);
    expect(next.statfsSync().ffree).toBe(inodesFree);
    next.closeSync();
    expect(orphansOf(copy)).toEqual({ file: [], list: 0, isAnnounced: false });
    expect(e2fsckClean(copy)).toMatchObject({ clean: true });
    expect(run("e2fsck", ["-f", "-y", log]).code).toBeLessThan(2);
    expect(orphansOf(log)).toMatchObject({ file: [], list: 0 });
  });

  withTools("that is full leaves the others to the list", () => {
    using directory = temporaryDirectory();
    const [image, copy, log] = [
      directory.file("image"),
      directory.file("copy"),
      directory.file("log"),
    ];
    mkfsExt4(image, 24 << 20, ARGS);
    const volume = mountSync(image, { regionBytes: REGION_BYTES });
    const files = deletedFiles(volume, PLACES + 3);
    crashed(volume, image, copy);
    const found = orphansOf(replayed(copy, log));
    expect(found.file).toEqual(files.slice(0, PLACES).map(({ ino }) => ino));
    expect(found.list).toBe(files.at(-1)!.ino);
    // One of the list, one of each block; and there is room again.
    for (const index of [PLACES + 1, 3, 300]) files[index]!.close();
    const again = deletedFiles(volume, 2);
    crashed(volume, image, copy);
    const then = orphansOf(replayed(copy, log));
    const gone = [3, 300].map((index) => files[index]!.ino);
    expect(sorted(then.file)).toEqual(
      sorted([...found.file.filter((ino) => !gone.includes(ino)), ...again.map(({ ino }) => ino)]),
    );
    for (const [index, file] of files.entries()) {
      if (![PLACES + 1, 3, 300].includes(index)) file.close();
    }
    for (const file of again) file.close();
    volume.closeSync();
    expect(orphansOf(image)).toEqual({ file: [], list: 0, isAnnounced: false });
    expect(e2fsckClean(image)).toMatchObject({ clean: true });
    const next = mountSync(copy, { regionBytes: REGION_BYTES });
    next.closeSync();
    expect(orphansOf(copy)).toEqual({ file: [], list: 0, isAnnounced: false });
    expect(e2fsckClean(copy)).toMatchObject({ clean: true });
  });

  withTools(
    "names at any moment those that are open and have no name",
    { timeout: 300_000 },
    () => {
      fc.assert(
        fc.property(
          fc.array(
            fc.oneof(
              { weight: 3, arbitrary: fc.constant(-1) }, // delete one more
              { weight: 2, arbitrary: fc.nat(30) }, // close one
            ),
            { minLength: 5, maxLength: 40 },
          ),
          (steps) => {
            using directory = temporaryDirectory();
            const [image, copy] = [directory.file("image"), directory.file("copy")];
            mkfsExt4(image, 24 << 20, [...ARGS, "-J", "size=1"]);
            const volume = mountSync(image, { regionBytes: REGION_BYTES });
            const open: { ino: number; close(): void }[] = [];
            for (const step of steps) {
              if (step < 0) open.push(...deletedFiles(volume, 1));
              else if (open.length > 0) open.splice(step % open.length, 1)[0]!.close();
            }
            crashed(volume, image, copy);
            for (const file of open) file.close();
            volume.closeSync();
            expect(e2fsckClean(image)).toMatchObject({ clean: true });
            const report = fsckSync(copy);
            expect(shown(report.findings)).toBe("");
            expect(sorted(orphansOf(replayed(copy, image)).file)).toEqual(
              sorted(open.map(({ ino }) => ino)),
            );
          },
        ),
        { numRuns: 12 },
      );
    },
  );

  skipUnless(
    "mkfs.ext4",
    "e2fsck",
    "root",
    "loop mounts",
  )("of a volume that we left in a crash is seen to by the kernel, and the other way round", () => {
    using directory = temporaryDirectory();
    const [image, copy, place] = [
      directory.file("image"),
      directory.file("copy"),
      directory.file("place"),
    ];
    mkfsExt4(image, 24 << 20, ARGS);
    mkdirSync(place);
    const volume = mountSync(image, { regionBytes: REGION_BYTES });
    const files = deletedFiles(volume, 7);
    crashed(volume, image, copy);
    for (const file of files) file.close();
    volume.closeSync();
    loopMount(copy, place).unmount();
    expect(orphansOf(copy)).toEqual({ file: [], list: 0, isAnnounced: false });
    expect(e2fsckClean(copy)).toMatchObject({ clean: true });
    {
      using mounted = loopMount(image, place);
      const handles = [1, 2, 3].map((number) => {
        const handle = openSync(`${mounted.directory}/${number}`, "w");
        unlinkSync(`${mounted.directory}/${number}`);
        return handle;
      });
      runOk("sync", ["-f", place]);
      copyFileSync(image, copy);
      for (const handle of handles) closeSync(handle);
    }
    expect(orphansOf(replayed(copy, directory.file("log"))).file).toHaveLength(3);
    const next = mountSync(copy, { regionBytes: REGION_BYTES });
    expect(next.readOnlyReason).toBe(null);
    next.closeSync();
    expect(orphansOf(copy)).toEqual({ file: [], list: 0, isAnnounced: false });
    expect(e2fsckClean(copy)).toMatchObject({ clean: true });
  });
});

/** The device byte of the first block of the orphan file. */
function orphanBlock(image: DamagedImage): number {
  return image.block(`<${image.u32(SUPERBLOCK + 0x280)}>`);
}

function announce(image: DamagedImage): void {
  image.debugfs("feature orphan_present");
}

describe("a damaged orphan file", () => {
  const cases: readonly {
    name: string;
    damage(image: DamagedImage): void;
    reason: RegExp;
  }[] = [
    {
      name: "a wrong magic number",
      damage: (image) => image.set32(orphanBlock(image) + 1016, 0x0b10ca05),
      reason: /ob_magic/,
    },
    {
      name: "the number of an inode that is not in use",
      damage: (image) => {
        announce(image);
        image.set32(orphanBlock(image) + 8, 200);
      },
      reason: /names inode 200/,
    },
    {
      name: "a number that no inode has",
      damage: (image) => {
        announce(image);
        image.set32(orphanBlock(image) + 8, 0x7fffffff);
      },
      reason: /names inode 2147483647/,
    },
    {
      name: "the number of the root directory",
      damage: (image) => {
        announce(image);
        image.set32(orphanBlock(image) + 8, 2);
      },
      reason: /names inode 2,/,
    },
    {
      name: "its own number",
      damage: (image) => {
        announce(image);
        image.set32(orphanBlock(image) + 8, image.u32(SUPERBLOCK + 0x280));
      },
      reason: /which is no file's/,
    },
    {
      name: "the number of a file twice",
      damage: (image) => {
        announce(image);
        const ino = image.inoOf("directory/small");
        image.debugfs(`sif <${ino}> links_count 0`, "unlink directory/small");
        image.set32(orphanBlock(image) + 8, ino);
        image.set32(orphanBlock(image) + 80, ino);
      },
      reason: /twice/,
    },
    {
      name: "a number of its own that no inode has",
      damage: (image) => image.set32(SUPERBLOCK + 0x280, 0x7fffffff),
      reason: /inode number is 2147483647/,
    },
  ];
  withTools.each(cases)(
    "with $name: the volume is only read, and says why",
    ({ damage, reason }) => {
      using image = new DamagedImage("orphan-file");
      damage(image);
      const volume = mountSync(image.path, { regionBytes: REGION_BYTES });
      expect(volume.readOnlyReason).toMatch(reason);
      expect(volume.readdirSync("/")).toContain("large");
      volume.closeSync();
      const { ours, theirs, report, said } = referee(image.path);
      expect(ours, `${shown(report.findings)}\n${said}`).toBe(theirs);
      expect(ours).toBe("errors");
    },
  );

  withTools("with a checksum that is wrong: the volume is only read, and says why", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 24 << 20, ARGS);
    const block = Number(runOk("debugfs", ["-R", "bmap <12> 0", path]));
    const bytes = readFileSync(path);
    bytes.writeUInt8(bytes.readUInt8(block * 1024 + 1020) ^ 1, block * 1024 + 1020);
    writeFileSync(path, bytes);
    const volume = mountSync(path, { regionBytes: REGION_BYTES });
    expect(volume.readOnlyReason).toMatch(/ob_checksum/);
    volume.closeSync();
    const { ours, theirs, said } = referee(path);
    expect(ours, said).toBe(theirs);
    expect(ours).toBe("errors");
  });
});
