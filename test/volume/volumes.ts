// Volumes of every kind, for suites that run over all of them.

import { type AccessOptions, mountRamSync, mountSync, type Volume } from "../../src/index.ts";
import {
  e2fsckClean,
  hasTool,
  mkfsExt4,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../support/tools.ts";

export interface TestVolume extends Disposable {
  /** Where the volume lies; null in memory. */
  readonly image: string | null;
  volume: Volume;
  /** Closes the volume and mounts it again; a ram volume has nothing to come back from. */
  remount(): void;
  /** Closes it, and has the format's own checker look at it. Returns what that complains of, or "". */
  closeAndCheck(): string;
}

export interface VolumeKind {
  readonly name: string;
  /** Whether blocks are pages, and files mapped as what they are on the device. */
  readonly mappable: boolean;
  make(sizeBytes?: number, options?: AccessOptions): TestVolume;
}

const SIZE_BYTES = 24 * 1024 * 1024;

function onImage(
  sizeBytes: number,
  mkfsArgs: readonly string[],
  access: AccessOptions,
): TestVolume {
  const options = { regionBytes: 2 ** 28, ...access };
  const directory: TemporaryDirectory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, sizeBytes, mkfsArgs);
  const made: TestVolume = {
    image,
    volume: mountSync(image, options),
    remount() {
      made.volume.closeSync();
      made.volume = mountSync(image, options);
    },
    closeAndCheck() {
      made.volume.closeSync();
      const { clean, output } = e2fsckClean(image);
      return clean ? "" : output;
    },
    [Symbol.dispose]() {
      made.volume.closeSync();
      directory[Symbol.dispose]();
    },
  };
  return made;
}

function inMemory(sizeBytes: number, access: AccessOptions): TestVolume {
  const volume = mountRamSync({ size: sizeBytes, regionBytes: 2 ** 28, ...access });
  return {
    image: null,
    volume,
    remount() {},
    closeAndCheck() {
      volume.closeSync();
      return "";
    },
    [Symbol.dispose]: () => volume.closeSync(),
  };
}

const ext = (name: string, blockSize: number, ...more: string[]): VolumeKind => ({
  name,
  mappable: blockSize === 4096,
  make: (sizeBytes = SIZE_BYTES, access = {}) =>
    onImage(sizeBytes, ["-b", String(blockSize), ...more], access),
});

export const ram: VolumeKind = {
  name: "ram",
  mappable: true,
  make: (sizeBytes = SIZE_BYTES, access = {}) => inMemory(sizeBytes, access),
};

export const ext4 = ext("ext4", 4096);

/** Every kind of volume this machine can make. */
export const volumeKinds: readonly VolumeKind[] = hasTool("mkfs.ext4")
  ? [ram, ext4, ext("ext4 of 1 KiB blocks", 1024)]
  : [ram];

/** Volumes whose files have block pointers: they have no unwritten blocks, and move none. */
export const blockPointerKinds: readonly VolumeKind[] = hasTool("mkfs.ext4")
  ? [
      ext("ext2", 4096, "-t", "ext2"),
      ext("ext3 of 1 KiB blocks", 1024, "-t", "ext3"),
      ext("ext2 without features", 2048, "-t", "ext2", "-O", "none"),
    ]
  : [];

/** The same volume with all files copied, through a page cache of so many bytes. */
const copied = (kind: VolumeKind, name: string): VolumeKind => ({
  name,
  mappable: false,
  make: (sizeBytes, access = {}) => kind.make(sizeBytes, { dax: "never", ...access }),
});

/** Volumes whose files are copied. */
export const copiedKinds: readonly VolumeKind[] = hasTool("mkfs.ext4")
  ? [
      copied(ram, "ram, copied"),
      copied(ext4, "ext4, copied"),
      ext("ext4 of 2 KiB blocks", 2048),
      ext("ext4 of 1 KiB blocks", 1024),
    ]
  : [copied(ram, "ram, copied")];
