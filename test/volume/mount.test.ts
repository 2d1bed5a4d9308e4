// Mounting and unmounting: what is refused and why, and in which state an image is left.

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { HoldfastError, mount, mountRamSync, mountSync } from "../../src/index.ts";
import { dist, root } from "../../scripts/tree.js";
import {
  e2fsckClean,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  sparseFile,
  temporaryDirectory,
} from "../support/tools.ts";

const extTest = skipUnless("mkfs.ext4", "e2fsck", "dumpe2fs");
const MIB = 2 ** 20;
const regionBytes = 2 ** 28;

function hashOf(path: string): string {
  return createHash("sha256").update(readFileSync(path)).digest("hex");
}

function stateOf(image: string): string {
  const header = runOk("dumpe2fs", ["-h", image]);
  return /^Filesystem state:\s*(.*)$/m.exec(header)?.[1] ?? "";
}

function needsRecovery(image: string): boolean {
  return /^Filesystem features:.* needs_recovery/m.test(runOk("dumpe2fs", ["-h", image]));
}

function image(
  directory: ReturnType<typeof temporaryDirectory>,
  args: readonly string[] = ["-b", "4096"],
): string {
  const path = directory.file("image");
  mkfsExt4(path, 16 * MIB, args);
  return path;
}

/** Runs a program of ours in a process of its own. */
function runProgram(text: string, ...args: string[]): ReturnType<typeof spawnSync> {
  const program = `import * as holdfast from ${JSON.stringify(join(dist, "index.js"))};\n${text}`;
  return spawnSync(process.execPath, ["--input-type=module", "-e", program, ...args], {
    cwd: root,
    encoding: "utf8",
  });
}

describe("a mounted ext4 volume", () => {
  extTest("says who it is, is marked in use while mounted and clean after", () => {
    using directory = temporaryDirectory();
    const path = image(directory, ["-b", "4096", "-L", "label here"]);
    const volume = mountSync(path, { regionBytes });
    expect(volume).toMatchObject({
      type: "ext4",
      label: "label here",
      readOnly: false,
      readOnlyReason: null,
    });
    expect(runOk("dumpe2fs", ["-h", path])).toContain(volume.uuid);
    expect(needsRecovery(path)).toBe(true);
    volume.writeFileSync("/file", "content");
    volume.closeSync();
    volume.closeSync();
    expect(needsRecovery(path)).toBe(false);
    expect(stateOf(path)).toBe("clean");
    expect(e2fsckClean(path)).toMatchObject({ clean: true });
    expect(runOk("debugfs", ["-R", "cat /file", path])).toBe("content");
  });

  extTest("unmounts on the event loop, twice at once, and is then closed for good", async () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    const volume = await mount(path, { regionBytes });
    await volume.writeFile("/file", "content");
    await Promise.all([volume.close(), volume.close()]);
    await volume.close();
    expect(volume.closed).toBe(true);
    await expect(volume.stat("/file")).rejects.toMatchObject({ code: "EBADF", syscall: "stat" });
    expect(() => volume.statSync("/file")).toThrow(expect.objectContaining({ code: "EBADF" }));
    expect(e2fsckClean(path)).toMatchObject({ clean: true });
  });

  extTest("is this process's alone: a second mount is refused and names it", () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    using _volume = mountSync(path, { regionBytes });
    expect(() => mountSync(path)).toThrow(
      expect.objectContaining({ code: "EBUSY", path, message: expect.stringContaining("process") }),
    );
    const other = runProgram(
      "try { holdfast.mountSync(process.argv[1]); } catch (error) { console.log(error.code); }",
      path,
    );
    expect(String(other.stdout).trim()).toBe("EBUSY");
  });

  extTest("read-only, is shared with other readers, and refuses every change", async () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    {
      using volume = mountSync(path, { regionBytes });
      volume.writeFileSync("/file", "content");
    }
    const before = hashOf(path);
    using first = mountSync(path, { regionBytes, readOnly: true });
    using second = mountSync(path, { regionBytes, readOnly: true });
    expect(second).toMatchObject({ readOnly: true, readOnlyReason: "it was mounted read-only" });
    expect(first.readFileSync("/file", "utf8")).toBe("content");
    const changes: (() => unknown)[] = [
      () => second.writeFileSync("/new", ""),
      () => second.openSync("/file", "r+"),
      () => second.mkdirSync("/new"),
      () => second.mkdirSync("/new/deep", { recursive: true }),
      () => second.unlinkSync("/file"),
      () => second.rmdirSync("/lost+found"),
      () => second.renameSync("/file", "/new"),
      () => second.linkSync("/file", "/new"),
      () => second.symlinkSync("file", "/new"),
      () => second.chmodSync("/file", 0o600),
      () => second.chownSync("/file", 1, 1),
      () => second.utimesSync("/file", 1, 1),
      () => second.truncateSync("/file", 1),
    ];
    for (const change of changes) {
      expect(change).toThrow(expect.objectContaining({ code: "EROFS" }));
    }
    using file = second.openSync("/file");
    using window = file.map();
    expect(window.writable).toBe(false);
    expect(Buffer.from(window.bytes).toString()).toBe("content");
    // A stray store reaches nobody.
    window.bytes[0] = 0;
    await second.sync();
    second.closeSync();
    first.closeSync();
    expect(hashOf(path)).toBe(before);
  });

  extTest("whose process ends without closing it, is flushed and stays marked in use", () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    const { status, stderr } = runProgram(
      `const volume = holdfast.mountSync(process.argv[1]);
       volume.mkdirSync("/a");
       volume.writeFileSync("/a/file", "content");
       const window = volume.openSync("/a/file", "r+").map();
       window.bytes[0] = 67;
       volume.share();`,
      path,
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(needsRecovery(path)).toBe(true);
    // e2fsck has nothing to say but that it replays the journal.
    expect(run("e2fsck", ["-fy", path])).toMatchObject({ code: 0 });
    expect(runOk("debugfs", ["-R", "cat /a/file", path])).toBe("Content");
  });

  extTest("without a journal, is marked in use while mounted, and clean after", () => {
    using directory = temporaryDirectory();
    const path = image(directory, ["-b", "4096", "-O", "^has_journal"]);
    const volume = mountSync(path, { regionBytes });
    expect(stateOf(path)).toBe("not clean");
    volume.writeFileSync("/file", "content");
    volume.syncSync();
    // e2fsck has nothing to say but that it was not closed.
    expect(e2fsckClean(path).output).not.toContain("Fix?");
    volume.closeSync();
    expect(stateOf(path)).toBe("clean");
    expect(e2fsckClean(path)).toMatchObject({ clean: true });
  });

  extTest("that was not closed is mounted read-only, and says why", () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    runOk("debugfs", ["-w", "-R", "set_super_value state 0", path]);
    const before = hashOf(path);
    const volume = mountSync(path, { regionBytes });
    expect(volume.readOnly).toBe(true);
    expect(volume.readOnlyReason).toMatch(/e2fsck|clean|check/);
    volume.closeSync();
    expect(hashOf(path)).toBe(before);
  });

  extTest("closes this thread's files and windows itself, but not its pins", () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    const volume = mountSync(path, { regionBytes });
    const file = volume.openSync("/file", "w+");
    file.writeSync(new Uint8Array(8192).fill(1), 0);
    const window = file.map();
    const pin = file.pinSync(0, 4096);
    expect(() => volume.closeSync()).toThrow(
      expect.objectContaining({ code: "EBUSY", message: expect.stringContaining("1 pin;") }),
    );
    expect(window.bytes[0]).toBe(1);
    pin.release();
    volume.closeSync();
    expect(file.closed && window.closed).toBe(true);
    // The views a program kept are zeroes of nobody.
    expect([window.bytes[0], pin.released]).toEqual([0, true]);
    expect(() => file.readSync(new Uint8Array(1), 0)).toThrow(
      expect.objectContaining({ code: "EBADF" }),
    );
    expect(e2fsckClean(path)).toMatchObject({ clean: true });
  });
});

describe("a refused mount names what it found and changes nothing", () => {
  function refusal(path: string): HoldfastError {
    const before = hashOf(path);
    try {
      mountSync(path);
    } catch (error) {
      expect(error).toBeInstanceOf(HoldfastError);
      expect(hashOf(path)).toBe(before);
      // The claim is gone: the next one is refused for the same reason, not because of it.
      const { code } = error as HoldfastError;
      expect(() => mountSync(path)).toThrow(expect.objectContaining({ code }));
      return error as HoldfastError;
    }
    throw new Error("the mount was not refused");
  }

  test("a file of zeroes", () => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    sparseFile(path, MIB);
    expect(refusal(path)).toMatchObject({
      code: "EINVAL",
      path,
      message: expect.stringContaining("zeroes; make a volume with mkfs()"),
    });
  });

  test.each([
    [0, "XFSB", "an XFS volume"],
    [0x10040, "_BHRfS_M", "a btrfs volume"],
    [512, "EFI PART", "a partition table"],
    [0, "just some text", "something unknown"],
  ])("something else: byte %d holds %s", (at, magic, name) => {
    using directory = temporaryDirectory();
    const path = directory.file("image");
    const bytes = Buffer.alloc(MIB);
    bytes.write(magic, at, "latin1");
    writeFileSync(path, bytes);
    expect(refusal(path)).toMatchObject({
      code: "EINVAL",
      message: expect.stringContaining(name),
    });
  });

  test("an empty file, a missing one and a directory", () => {
    using directory = temporaryDirectory();
    const empty = directory.file("empty");
    writeFileSync(empty, "");
    expect(refusal(empty)).toMatchObject({ code: "EINVAL" });
    expect(() => mountSync(directory.file("missing"))).toThrow(
      expect.objectContaining({ code: "ENOENT" }),
    );
    expect(() => mountSync(directory.path)).toThrow(expect.objectContaining({ code: "EISDIR" }));
  });

  extTest("an image that was cut short", () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    truncateSync(path, 8 * MIB);
    expect(refusal(path)).toMatchObject({ code: "EUCLEAN" });
  });

  extTest("a damaged superblock", () => {
    using directory = temporaryDirectory();
    const path = image(directory);
    const bytes = readFileSync(path);
    bytes.writeUInt32LE(0xffff_ffff, 1024 + 0x20);
    writeFileSync(path, bytes);
    expect(refusal(path)).toMatchObject({
      code: "EUCLEAN",
      message: expect.stringContaining("ext4_super_block"),
    });
  });

  extTest("a feature that it does not know", () => {
    using directory = temporaryDirectory();
    const path = image(directory, ["-b", "4096", "-O", "encrypt"]);
    expect(refusal(path)).toMatchObject({
      code: "EOPNOTSUPP",
      message: expect.stringContaining("encrypt"),
    });
  });
});

describe("wrong arguments", () => {
  test("are refused by name and value", () => {
    expect(() => mountSync(7 as never)).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_TYPE" }),
    );
    expect(() => mountSync("x\0y")).toThrow(
      expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }),
    );
    expect(() => mountRamSync({ size: -1 })).toThrow(
      expect.objectContaining({ code: "ERR_OUT_OF_RANGE" }),
    );
    expect(() => mountRamSync({ size: MIB, regionBytes: 5 })).toThrow(
      expect.objectContaining({ code: "EINVAL" }),
    );
    const signal = AbortSignal.abort();
    expect(() => mountSync("x", { signal })).toThrow(
      expect.objectContaining({ name: "AbortError" }),
    );
  });

  test("a ram volume is gone when it is closed", () => {
    const volume = mountRamSync({ size: 4 * MIB, regionBytes });
    volume.writeFileSync("/file", "content");
    expect(volume).toMatchObject({ type: "ram", readOnly: false });
    volume.closeSync();
    expect(() => volume.readFileSync("/file")).toThrow(expect.objectContaining({ code: "EBADF" }));
  });
});
