// Volumes of ext2 and ext3, used as every other: their types, what of fallocate there is, windows and pins.

import { createHash } from "node:crypto";
import { copyFileSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type FallocateMode, mount, mountSync } from "../../src/index.ts";
import {
  e2fsckClean,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";
import { blockPointerKinds } from "./volumes.ts";

const MIB = 2 ** 20;
const PAGE = 4096;
const regionBytes = 2 ** 28;
const extTest = skipUnless("mkfs.ext4", "e2fsck", "debugfs");

describe("the type of a volume", () => {
  extTest.each([
    ["ext2", ["-t", "ext2"]],
    ["ext2", ["-t", "ext2", "-r", "0"]],
    ["ext2", ["-t", "ext2", "-O", "meta_bg,^resize_inode"]],
    ["ext3", ["-t", "ext3"]],
    ["ext4", []],
    ["ext4", ["-t", "ext2", "-O", "extents"]],
    ["ext4", ["-t", "ext3", "-O", "huge_file"]],
    ["ext4", ["-O", "^has_journal"]],
  ] as const)("is %s where blkid says so: mke2fs %j", (type, args) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 16 * MIB, args);
    expect(runOk("blkid", ["-p", "-o", "value", "-s", "TYPE", path]).trim()).toBe(type);
    using volume = mountSync(path, { regionBytes, type });
    expect(volume).toMatchObject({ type, readOnly: false });
  });

  extTest("that was asked for and is another's is refused with both names", async () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    mkfsExt4(path, 16 * MIB, ["-t", "ext3"]);
    const hash = (): string => createHash("sha256").update(readFileSync(path)).digest("hex");
    const before = hash();
    const message = /ext3.*options\.type.*ext4/;
    await expect(mount(path, { regionBytes, type: "ext4" })).rejects.toMatchObject({
      code: "EINVAL",
      message: expect.stringMatching(message),
    });
    expect(() => mountSync(path, { regionBytes, type: "xfs" as never })).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }),
    );
    expect(hash()).toBe(before);
  });
});

describe.each(blockPointerKinds)("$name", (kind) => {
  const REFUSED: readonly FallocateMode[] = [
    "allocate",
    "keep-size",
    "collapse-range",
    "insert-range",
    "zero-range",
  ];

  test("fallocate punches holes, refuses all else as the kernel does, and changes nothing then", () => {
    using made = kind.make();
    using file = made.volume.openSync("/file", "w+");
    const content = Buffer.alloc(20 * PAGE, "content");
    file.writeSync(content, 0);
    const { blocks } = file.statSync();
    for (const mode of REFUSED) {
      expect(() => file.fallocateSync(mode, PAGE, 2 * PAGE)).toThrow(
        expect.objectContaining({
          code: "EOPNOTSUPP",
          syscall: "fallocate",
          path: "/file",
          message: expect.stringMatching(/block pointers.*not extents/),
        }),
      );
    }
    expect(content.equals(file.readFileSync())).toBe(true);
    expect(file.statSync()).toMatchObject({ blocks, size: content.length });
    file.fallocateSync("punch-hole", PAGE, 2 * PAGE);
    content.fill(0, PAGE, 3 * PAGE);
    expect(content.equals(file.readFileSync())).toBe(true);
    expect(file.statSync().blocks).toBe(blocks - (2 * PAGE) / 512);
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test("a window and a pin are the file, far behind its start, too", async () => {
    using made = kind.make();
    const at = 70 * MIB;
    const file = made.volume.openSync("/file", "w+");
    file.truncateSync(at + 6 * MIB);
    const window = file.map({ writable: true, offset: at, length: 6 * MIB });
    window.bytes.fill(0x5a, 3 * PAGE, 5 * MIB);
    const pin = await file.pin(at + 4 * PAGE, MIB, { write: true });
    for (const buffer of pin.buffers) {
      expect(buffer.every((byte) => byte === 0x5a)).toBe(true);
      buffer.fill(0xa5);
    }
    expect(window.bytes[4 * PAGE]).toBe(0xa5);
    const truncated = file.truncate(PAGE);
    let isDone = false;
    void truncated.then(() => {
      isDone = true;
    });
    await new Promise((resolve) => setImmediate(resolve));
    expect(isDone).toBe(false);
    expect(made.volume.holdersSync("/file").pins.length).toBe(1);
    pin.release();
    await truncated;
    expect(file.statSync()).toMatchObject({ size: PAGE, blocks: 0 });
    file.truncateSync(at + MIB);
    expect(window.bytes[4 * PAGE]).toBe(0);
    window.bytes[4 * PAGE] = 7;
    window.close();
    file.closeSync();
    made.remount();
    using again = made.volume.openSync("/file");
    const found = new Uint8Array(2);
    again.readSync(found, at + 4 * PAGE);
    expect([...found]).toEqual([7, 0]);
    again.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });

  test("a full volume says ENOSPC, keeps what there was, and takes more once there is room", () => {
    using made = kind.make(8 * MIB);
    const { volume } = made;
    volume.writeFileSync("/kept", Buffer.alloc(100_000, "k"));
    const piece = new Uint8Array(300_000).fill(1);
    using file = volume.openSync("/large", "w+");
    expect(() => {
      for (let at = 0; ; at += piece.length) {
        for (let done = 0; done < piece.length; ) {
          done += file.writeSync(piece.subarray(done), at + done);
        }
      }
    }).toThrow(expect.objectContaining({ code: "ENOSPC" }));
    expect(volume.readFileSync("/kept", "utf8")).toBe("k".repeat(100_000));
    file.truncateSync(file.statSync().size - 200_000);
    volume.writeFileSync("/more", Buffer.alloc(50_000, "m"));
    expect(volume.readFileSync("/more", "utf8")).toBe("m".repeat(50_000));
    file.closeSync();
    expect(made.closeAndCheck()).toBe("");
  });
});

extTest.each([
  ["ext3", []],
  ["ext4", []],
  ["ext4", ["-O", "quota"]],
] as const)("all that is done to large files fits in the smallest journal: %s %s", (type, more) => {
  using directory = temporaryDirectory();
  const path = directory.file("image");
  const shape = ["-t", type, "-b", "1024", "-J", "size=1", "-N", "4096", ...more];
  mkfsExt4(path, 96 * MIB, shape);
  using volume = mountSync(path, { regionBytes });
  const piece = Buffer.alloc(60 * MIB, "large");
  using file = volume.openSync("/large", "w+");
  for (let done = 0; done < piece.length; ) done += file.writeSync(piece.subarray(done), done);
  file.truncateSync(0);
  for (let index = 0; index < 12_000; index++)
    file.writeSync(piece.subarray(0, 1024), index * 4096);
  volume.mkdirSync("/names");
  for (let index = 0; index < 3000; index++) {
    volume.linkSync("/large", `/names/${"n".repeat(240)}${index}`);
  }
  expect(volume.statSync("/names").size).toBeGreaterThan(500 * 1024);
  for (const name of volume.readdirSync("/names")) volume.unlinkSync(`/names/${name}`);
  volume.rmdirSync("/names");
  file.fallocateSync("punch-hole", 4096, 20 * MIB);
  file.closeSync();
  volume.unlinkSync("/large");
  volume.closeSync();
  expect(e2fsckClean(path)).toMatchObject({ clean: true });
});

describe("an ext3 journal, whose file has block pointers", () => {
  /** What e2fsck makes of a volume that was not unmounted, and what it says then. */
  const repaired = (image: string): string => {
    const { code, stdout, stderr } = run("e2fsck", ["-f", "-p", image]);
    if (code !== 0 && code !== 1) return stdout + stderr;
    const { clean, output } = e2fsckClean(image);
    return clean ? "" : output;
  };

  extTest("is replayed by e2fsck after a crash of ours: what was synced is there", () => {
    using directory = temporaryDirectory();
    const [path, crashed] = [directory.file("image"), directory.file("crashed")];
    mkfsExt4(path, 48 * MIB, ["-t", "ext3", "-b", "1024"]);
    using volume = mountSync(path, { regionBytes });
    volume.mkdirSync("/directory");
    using file = volume.openSync("/directory/file", "w+");
    const content = Buffer.alloc(5 * MIB, "content");
    for (let done = 0; done < content.length; )
      done += file.writeSync(content.subarray(done), done);
    file.truncateSync(3 * MIB);
    file.writeSync(Buffer.from("far"), 70 * MIB);
    file.syncSync();
    copyFileSync(path, crashed);
    expect(runOk("dumpe2fs", ["-h", crashed])).toMatch(/features:.*needs_recovery/);
    expect(repaired(crashed)).toBe("");
    const found = directory.file("found");
    runOk("debugfs", ["-R", `dump /directory/file ${found}`, crashed]);
    const bytes = readFileSync(found);
    expect(bytes.length).toBe(70 * MIB + 3);
    expect(bytes.subarray(0, 3 * MIB).equals(content.subarray(0, 3 * MIB))).toBe(true);
    expect(bytes.subarray(70 * MIB).toString()).toBe("far");
  });

  skipUnless(
    "mkfs.ext4",
    "e2fsck",
    "loop mounts",
  )("is replayed by us after a crash of the kernel's", () => {
    using directory = temporaryDirectory();
    using mountPoint = temporaryDirectory();
    const [path, crashed] = [directory.file("image"), directory.file("crashed")];
    mkfsExt4(path, 48 * MIB, ["-t", "ext3", "-b", "1024"]);
    const content = Buffer.alloc(3 * MIB, "kernel");
    {
      using mounted = loopMount(path, mountPoint.path);
      writeFileSync(`${mounted.directory}/file`, content);
      runOk("sync", ["-f", mounted.directory]);
      copyFileSync(path, crashed);
    }
    expect(runOk("dumpe2fs", ["-h", crashed])).toMatch(/features:.*needs_recovery/);
    const volume = mountSync(crashed, { regionBytes });
    expect(volume).toMatchObject({ type: "ext3", readOnly: false });
    expect(content.equals(volume.readFileSync("/file"))).toBe(true);
    volume.writeFileSync("/other", content);
    volume.closeSync();
    expect(e2fsckClean(crashed)).toMatchObject({ clean: true });
  });
});
