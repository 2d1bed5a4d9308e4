// New volumes: as mke2fs makes them byte for byte, sound to e2fsck, and used by the kernel and by us.

import fc from "fast-check";
import { closeSync, openSync, readFileSync, readSync, statSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { fsckSync, type MkfsOptions, mkfsSync, mountSync } from "../../../src/index.ts";
import {
  e2fsckClean,
  loopMount,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../../support/tools.ts";
import { differentBlocks, HASH_SEED, isReferee, makeBoth, TIME, UUID } from "./mkfs-referee.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const TIB = 2 ** 40;
const TYPES = ["ext2", "ext3", "ext4"] as const;
const BLOCK_SIZES = [1024, 2048, 4096] as const;
const regionBytes = 2 ** 28;

const checked = skipUnless("e2fsck");
const mounted = skipUnless("root", "e2fsck", "loop mounts");
const tools = skipUnless("mke2fs", "env");
const compared = tools === test && isReferee() ? tools : test.skip;
if (compared === test.skip)
  process.stderr.write("tests skipped: mke2fs is not of version 1.47.0\n");

function complaintsOf(path: string): string {
  const { clean, output } = e2fsckClean(path);
  return clean ? "" : output;
}

describe("the image is mke2fs's, byte for byte", () => {
  function expectSame(bytes: number, options: MkfsOptions, args: readonly string[] = []): void {
    using directory = temporaryDirectory();
    const { own, other } = makeBoth(directory, bytes, options, args);
    expect(differentBlocks(own, other, options.blockSize ?? 1024)).toEqual([]);
  }

  const sizes: [string, number][] = [
    ["1 MiB", MIB],
    ["8 MiB", 8 * MIB],
    ["8 MiB and a page, which is left out", 8 * MIB + 4096],
    ["8,400 KiB, whose last group is too small", 8400 * 1024],
    ["8,600 KiB, whose last group is just large enough", 8600 * 1024],
    ["64 MiB", 64 * MIB],
    ["256 MiB, where tables go around copies", 256 * MIB],
    ["512 MiB", 512 * MIB],
    ["4 GiB", 4 * GIB],
  ];
  for (const type of TYPES) {
    compared.each(sizes)(`${type} of %s`, (_, bytes) => expectSame(bytes, { type }));
  }
  compared("ext4 of 100 GiB", () => expectSame(100 * GIB, {}));
  // Of a larger journal the extents leave the inode, and mke2fs leaves stale bytes behind there.
  const small: [MkfsOptions, string[]] = [{ journalSize: 256 * MIB }, ["-J", "size=256"]];
  compared("ext4 of 1 TiB", () => expectSame(TIB, ...small));
  compared("ext4 of 16 TiB", () => expectSame(16 * TIB, ...small));

  for (const type of TYPES) {
    compared.each(BLOCK_SIZES)(`${type} with blocks of %i bytes`, (blockSize) => {
      expectSame(300 * MIB, { type, blockSize }, ["-b", String(blockSize)]);
      expectSame(3 * GIB, { type, blockSize }, ["-b", String(blockSize)]);
    });
  }

  const features: [
    features: string,
    type: (typeof TYPES)[number],
    blockSize: 1024 | 2048 | 4096,
  ][] = [
    ["^flex_bg", "ext4", 4096],
    ["meta_bg,^resize_inode", "ext4", 1024],
    ["meta_bg,^resize_inode", "ext3", 1024],
    ["^64bit", "ext4", 4096],
    ["^metadata_csum,uninit_bg", "ext4", 4096],
    ["^metadata_csum", "ext4", 1024],
    ["uninit_bg", "ext3", 1024],
    ["flex_bg", "ext2", 1024],
    ["^has_journal,metadata_csum_seed", "ext4", 4096],
    ["sparse_super2,^resize_inode", "ext4", 4096],
    ["^sparse_super,^resize_inode", "ext4", 1024],
    ["large_dir,ea_inode,verity,project,stable_inodes", "ext4", 4096],
    ["fast_commit", "ext4", 4096],
    ["none", "ext2", 4096],
    ["^extent,^64bit", "ext4", 4096],
    ["^resize_inode", "ext4", 4096],
    ["quota", "ext4", 1024],
    ["quota", "ext4", 2048],
    ["quota", "ext4", 4096],
    ["quota,project", "ext4", 1024],
    ["quota", "ext3", 1024],
    ["quota,^metadata_csum,uninit_bg", "ext4", 4096],
    ["quota,^extent,^64bit", "ext4", 2048],
    ["orphan_file", "ext4", 1024],
    ["orphan_file", "ext4", 4096],
    ["orphan_file", "ext3", 1024],
    ["inline_data", "ext4", 1024],
    ["inline_data", "ext4", 4096],
    ["inline_data", "ext2", 2048],
    ["orphan_file,quota,project,inline_data,ea_inode,large_dir", "ext4", 4096],
    ["orphan_file,metadata_csum_seed,fast_commit,project,quota", "ext4", 1024],
    ["sparse_super2,^resize_inode,quota,orphan_file", "ext4", 4096],
    ["^filetype,^dir_index,^ext_attr", "ext4", 1024],
  ];
  compared.each(features)("-O %s of %s with blocks of %i bytes", (list, type, blockSize) => {
    const args = ["-O", list, "-b", String(blockSize)];
    expectSame(600 * MIB, { type, features: list, blockSize }, args);
  });

  const others: [string, MkfsOptions, string[]][] = [
    ["inodes of 128 bytes", { inodeSize: 128 }, ["-I", "128"]],
    ["inodes of 1,024 bytes", { inodeSize: 1024 }, ["-I", "1024"]],
    ["a thousand inodes", { inodes: 1000 }, ["-N", "1000"]],
    ["an inode for each 64 KiB", { inodeRatio: 65536 }, ["-i", "65536"]],
    ["a journal of 8 MiB", { journalSize: 8 * MIB }, ["-J", "size=8"]],
    ["1.5 % reserved", { reservedPercent: 1.5 }, ["-m", "1.5"]],
    ["a label", { label: "sixteen bytes é" }, ["-L", "sixteen bytes é"]],
  ];
  const kinds: [NonNullable<MkfsOptions["quotas"]>, string][] = [
    [["user"], "usrquota"],
    [["group"], "grpquota"],
    [["project", "user"], "usrquota:prjquota"],
    [["project", "group", "user"], "usrquota:grpquota:prjquota"],
  ];
  compared.each(kinds)("quotas of %j alone", (quotas, type) => {
    // Of two -E mke2fs takes the last one.
    const extended = `hash_seed=${HASH_SEED},quotatype=${type}`;
    const features = quotas.includes("project") ? "quota,project" : "quota";
    expectSame(64 * MIB, { quotas, features }, ["-O", features, "-E", extended]);
  });

  const orphanFiles: [string, number][] = [
    ["128 MiB of 1 KiB blocks", 128 * MIB],
    ["256 MiB of 1 KiB blocks", 256 * MIB],
    ["3 GiB", 3 * GIB],
    ["20 GiB", 20 * GIB],
  ];
  compared.each(orphanFiles)("an orphan file in %s", (_, bytes) =>
    expectSame(bytes, { features: "orphan_file" }, ["-O", "orphan_file"]),
  );

  compared.each(others)("%s", (_, options, args) => expectSame(600 * MIB, options, args));
});

compared("a journal of more extents than its inode holds lies where mke2fs puts it", () => {
  using directory = temporaryDirectory();
  const { own, other } = makeBoth(directory, TIB, {}, []);
  const [journal, expected] = [own, other].map((path) => runOk("debugfs", ["-R", "ex <8>", path]));
  expect(journal).toBe(expected);
  expect(journal!.split("\n").length).toBeGreaterThan(8);
  expect(complaintsOf(own)).toBe("");
});

describe("a new volume", () => {
  for (const type of TYPES) {
    mounted.each(BLOCK_SIZES)(
      `of ${type} with blocks of %i bytes is the kernel's to use`,
      (blockSize) => {
        using directory = temporaryDirectory();
        using place = temporaryDirectory();
        const path = directory.file("image");
        mkfsSync(path, { type, size: 200 * MIB, blockSize, label: "new" });
        expect(complaintsOf(path)).toBe("");
        const kernel = loopMount(path, place.path);
        const fstype = runOk("findmnt", ["-no", "FSTYPE", place.path]).trim();
        writeFileSync(`${place.path}/file`, Buffer.alloc(3 * MIB, "data"));
        runOk("mkdir", ["-p", `${place.path}/a/b/c`]);
        kernel.unmount();
        expect(fstype).toBe(type);
        expect(complaintsOf(path)).toBe("");
      },
    );
  }

  checked.each(BLOCK_SIZES)("of ext4 with blocks of %i bytes is ours to use", (blockSize) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const made = mkfsSync(path, { size: 200 * MIB, blockSize, label: "new", uuid: UUID });
    expect(made).toMatchObject({ mountable: "read-write", mountableReason: null, blockSize });
    const volume = mountSync(path, { regionBytes });
    expect(volume).toMatchObject({ label: "new", uuid: UUID, readOnly: false });
    volume.writeFileSync("/file", Buffer.alloc(3 * MIB, "data"));
    volume.mkdirSync("/a/b/c", { recursive: true });
    volume.mknodSync("/a/null", "character-device", { major: 1, minor: 3 });
    volume.mknodSync("/a/fifo", "fifo", { mode: 0o600 });
    expect(volume.statSync("/a/null").rdev).toBe(0x103);
    volume.closeSync();
    expect(complaintsOf(path)).toBe("");
  });

  const together = "orphan_file,quota,project,inline_data,ea_inode,large_dir,metadata_csum_seed";
  mounted.each(["orphan_file", "inline_data", "orphan_file,fast_commit,inline_data"])(
    "with %s is the kernel's to use, and ours",
    (features) => {
      using directory = temporaryDirectory();
      using place = temporaryDirectory();
      const path = directory.file("image");
      const made = mkfsSync(path, { size: 200 * MIB, features });
      expect(made.mountable).toBe("read-write");
      const kernel = loopMount(path, place.path);
      for (let index = 0; index < 100; index++) writeFileSync(`${place.path}/${index}`, "kernel's");
      kernel.unmount();
      expect(complaintsOf(path)).toBe("");
      const volume = mountSync(path, { regionBytes });
      expect(volume.readFileSync("/7", "utf8")).toBe("kernel's");
      for (let index = 0; index < 100; index++) volume.writeFileSync(`/${index}`, "ours");
      volume.unlinkSync("/0");
      volume.closeSync();
      expect(complaintsOf(path)).toBe("");
      const again = loopMount(path, place.path);
      expect(readFileSync(`${place.path}/7`, "utf8")).toBe("ours");
      again.unmount();
    },
  );

  checked.each(BLOCK_SIZES)(
    `with ${together} and blocks of %i bytes is ours to use, and both checks find nothing`,
    (blockSize) => {
      using directory = temporaryDirectory();
      const path = directory.file("image");
      const made = mkfsSync(path, { size: 200 * MIB, blockSize, features: together });
      expect(made).toMatchObject({ mountable: "read-write", mountableReason: null });
      expect(fsckSync(path)).toMatchObject({ verdict: "clean", findings: [] });
      const volume = mountSync(path, { regionBytes });
      for (const owner of [0, 1, 1000, 70_000]) {
        volume.writeFileSync(`/${owner}`, Buffer.alloc(1000 + 100 * owner, "data"));
        volume.chownSync(`/${owner}`, owner, owner + 1);
      }
      const open = volume.openSync("/1", "r");
      volume.unlinkSync("/1");
      open.closeSync();
      volume.closeSync();
      expect(complaintsOf(path)).toBe("");
      expect(fsckSync(path)).toMatchObject({ verdict: "clean", findings: [] });
    },
  );

  checked("is sound whatever is asked for, or is refused with a reason", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const flags = ["flex_bg", "64bit", "metadata_csum", "uninit_bg", "resize_inode", "has_journal"];
    const structures = ["quota", "project", "orphan_file", "inline_data"];
    const others = ["extent", "sparse_super", "meta_bg", "sparse_super2", "filetype"];
    const changes = [...flags, ...others, ...structures];
    const wish = fc.record({
      type: fc.constantFrom(...TYPES),
      size: fc.integer({ min: 16, max: 100_000 }).map((pages) => pages * 4096),
      blockSize: fc.constantFrom(...BLOCK_SIZES),
      inodeSize: fc.constantFrom(128, 256, 512),
      inodeRatio: fc.constantFrom(1024, 4096, 16384, 2 ** 20),
      reservedPercent: fc.double({ min: 0, max: 50, noNaN: true }),
      features: fc
        .subarray(changes)
        .chain((names) =>
          fc.tuple(
            ...names.map((name) => fc.boolean().map((isOut) => (isOut ? `^${name}` : name))),
          ),
        ),
    });
    let made = 0;
    fc.assert(
      fc.property(wish, (options) => {
        try {
          mkfsSync(path, { ...options, force: true });
          made++;
        } catch (error) {
          expect(["EINVAL", "ENOSPC"]).toContain((error as NodeJS.ErrnoException).code);
          return;
        }
        expect(complaintsOf(path)).toBe("");
      }),
      { numRuns: 60 },
    );
    expect(made).toBeGreaterThan(10);
  });

  test("of fixed uuid, hash seed and time is the same bytes each time", () => {
    using directory = temporaryDirectory();
    const images = ["one", "two"].map((name) => {
      mkfsSync(directory.file(name), {
        size: 20 * MIB,
        uuid: UUID,
        hashSeed: HASH_SEED,
        time: TIME,
      });
      return readFileSync(directory.file(name));
    });
    expect(Buffer.compare(images[0]!, images[1]!)).toBe(0);
  });

  test.each([
    ["1 TiB", TIB, 20 * MIB],
    ["16 TiB", 16 * TIB, 240 * MIB],
  ])("of %s takes no more of the disk than its structures", (_, size, most) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const { blocks } = mkfsSync(path, { size });
    expect(blocks * 4096).toBe(size);
    expect(statSync(path).size).toBe(size);
    expect(statSync(path).blocks * 512).toBeLessThan(most);
  });

  mounted("on a block device shows nothing of what was there", () => {
    using directory = temporaryDirectory();
    using place = temporaryDirectory();
    const path = directory.file("image");
    writeFileSync(path, Buffer.alloc(150 * MIB, "old data "));
    runOk("mke2fs", ["-q", "-F", "-E", "nodiscard", "-b", "4096", path]);
    const device = runOk("losetup", ["-f", "--show", path]).trim();
    try {
      for (const type of TYPES) {
        mkfsSync(device, { type, blockSize: 1024, force: true });
        expect(complaintsOf(device)).toBe("");
        expect(run("mke2fs", ["-n", device]).stdout).not.toMatch(/4k/);
        runOk("mount", [device, place.path]);
        for (let index = 0; index < 200; index++) writeFileSync(`${place.path}/${index}`, "new");
        runOk("umount", [place.path]);
        expect(complaintsOf(device)).toBe("");
      }
    } finally {
      runOk("losetup", ["-d", device]);
    }
    const file = openSync(path, "r");
    const magic = Buffer.alloc(2);
    readSync(file, magic, 0, 2, 32768 * 4096 + 0x38);
    closeSync(file);
    expect(magic.readUInt16LE(0)).not.toBe(0xef53);
  });
});
