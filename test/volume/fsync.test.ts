// How often an fsync flushes the storage, and in which order: of what is put on the medium by it, test/crash tells.

import { afterEach, describe, expect, test, vi } from "vitest";
import { HoldfastError } from "../../src/base/errors.ts";
import { Device } from "../../src/device/index.ts";
import { type FileHandle, type MountOptions, mountSync, type Volume } from "../../src/index.ts";
import { mkfsExt4, temporaryDirectory } from "../support/tools.ts";

const PAGE = 4096;
const CALLS = ["writeOut", "persist", "persistAll", "persistAllAsync"] as const;

afterEach(() => vi.restoreAllMocks());

/** Notes the calls that put something on the medium. */
function watchDevice(): string[] {
  const calls: string[] = [];
  for (const name of CALLS) {
    const original = Device.prototype[name] as (...range: number[]) => unknown;
    vi.spyOn(Device.prototype, name).mockImplementation(function (
      this: Device,
      ...range: number[]
    ) {
      calls.push(name);
      return original.apply(this, range) as never;
    });
  }
  return calls;
}

/** With a file of a page that is on the medium, with all else. */
function withFile(
  type: string,
  options: MountOptions,
  work: (file: FileHandle, volume: Volume) => void | Promise<void>,
): Promise<void> | void {
  using directory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, 16 * 2 ** 20, ["-t", type, "-b", String(PAGE)]);
  using volume = mountSync(image, { ...options, commitSeconds: 0 });
  using file = volume.openSync("/file", "wx+");
  file.writeSync(Buffer.alloc(PAGE, "A"), 0);
  volume.syncSync();
  file.syncSync();
  return work(file, volume);
}

describe.each(["ext2", "ext4"])("fsync on %s", (type) => {
  test("puts an append on the medium with what the metadata waits for, by one persist, and then the metadata", () =>
    withFile(type, {}, (file) => {
      const calls = watchDevice();
      file.writeSync(Buffer.alloc(PAGE, "B"), PAGE);
      file.syncSync();
      expect(calls).toEqual(["writeOut", "persistAll", "persistAll"]);
    }));

  test("persists the device for metadata where the file has no data to write", () =>
    withFile(type, {}, (file, volume) => {
      const calls = watchDevice();
      volume.mkdirSync("/new");
      file.syncSync();
      expect(calls).toEqual(["persistAll", "persistAll"]);
    }));

  test("persists what was written, where no metadata has changed, alone", () =>
    withFile(type, {}, (file) => {
      file.writeSync(Buffer.alloc(PAGE, "B"), 0);
      file.syncSync();
      const calls = watchDevice();
      file.writeSync(Buffer.alloc(PAGE, "C"), 0);
      file.syncSync();
      // Without a journal the superblock is written, changed or not.
      expect(calls).toEqual(
        type === "ext4" ? ["persist"] : ["writeOut", "persistAll", "persistAll"],
      );
    }));

  test("puts a copied file on the medium before its metadata", () =>
    withFile(type, { dax: "never" }, (file) => {
      const calls = watchDevice();
      file.writeSync(Buffer.alloc(PAGE, "B"), PAGE);
      file.syncSync();
      expect(calls).toEqual(["persist", "persistAll", "persistAll"]);
    }));

  test("whose data alone cannot be written is told by EIO, and tried again", () =>
    withFile(type, {}, (file, volume) => {
      const failing = vi.spyOn(Device.prototype, "writeOut").mockImplementation(() => {
        throw new HoldfastError("EIO", "the storage does not take it");
      });
      file.writeSync(Buffer.alloc(PAGE, "B"), PAGE);
      expect(() => file.syncSync()).toThrow(expect.objectContaining({ code: "EIO" }));
      failing.mockRestore();
      expect(volume.readOnlyReason).toBe(null);
      const calls = watchDevice();
      file.syncSync();
      expect(calls.filter((call) => call !== "persist")).toEqual([
        "writeOut",
        "persistAll",
        "persistAll",
      ]);
    }));
});
