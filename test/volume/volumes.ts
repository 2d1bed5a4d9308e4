// Volumes of every kind, for suites that run over all of them.

import { mountRamSync, mountSync, type Volume } from "../../src/index.ts";
import {
  e2fsckClean,
  hasTool,
  mkfsExt4,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../support/tools.ts";

export interface TestVolume extends Disposable {
  volume: Volume;
  /** Closes the volume and mounts it again; a ram volume has nothing to come back from. */
  remount(): void;
  /** Closes it, and has the format's own checker look at it. Returns what that complains of, or "". */
  closeAndCheck(): string;
}

export interface VolumeKind {
  readonly name: string;
  /** Whether blocks are pages, so that files can be mapped and pinned. */
  readonly mappable: boolean;
  make(sizeBytes?: number): TestVolume;
}

const SIZE_BYTES = 24 * 1024 * 1024;

function onImage(sizeBytes: number, mkfsArgs: readonly string[]): TestVolume {
  const directory: TemporaryDirectory = temporaryDirectory();
  const image = directory.file("image");
  mkfsExt4(image, sizeBytes, mkfsArgs);
  const made: TestVolume = {
    volume: mountSync(image, { regionBytes: 2 ** 28 }),
    remount() {
      made.volume.closeSync();
      made.volume = mountSync(image, { regionBytes: 2 ** 28 });
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

function inMemory(sizeBytes: number): TestVolume {
  const volume = mountRamSync({ size: sizeBytes, regionBytes: 2 ** 28 });
  return {
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
  make: (sizeBytes = SIZE_BYTES) => onImage(sizeBytes, ["-b", String(blockSize), ...more]),
});

export const ram: VolumeKind = {
  name: "ram",
  mappable: true,
  make: (sizeBytes = SIZE_BYTES) => inMemory(sizeBytes),
};

export const ext4 = ext("ext4", 4096);

/** Every kind of volume this machine can make. */
export const volumeKinds: readonly VolumeKind[] = hasTool("mkfs.ext4")
  ? [ram, ext4, ext("ext4 of 1 KiB blocks", 1024)]
  : [ram];
