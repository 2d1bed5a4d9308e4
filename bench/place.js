// Where a run keeps its files, and the volumes and peers that groups measure.

import { spawnSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  truncateSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { mountRamSync, mountSync } from "holdfast";

/** @typedef {import("holdfast").Volume} Volume */
/** @typedef {"ext4" | "ram"} Driver */

const TMPFS_MAGIC = 0x01021994;
// Debian keeps the filesystem tools where an ordinary user's PATH does not look.
const environment = { ...process.env, PATH: `${process.env["PATH"] ?? ""}:/usr/sbin:/sbin` };

/** A group cannot be measured on this machine. `message` says why. */
export class Unmeasurable extends Error {}

/** Whether mkfs.ext4 can be run. */
export function hasMkfs() {
  return spawnSync("mkfs.ext4", ["-V"], { env: environment }).error === undefined;
}

/** @param {string} path */
function isTmpfs(path) {
  try {
    return statfsSync(path).type === TMPFS_MAGIC;
  } catch {
    return false;
  }
}

/** The files of one run, in memory. They are gone when the process ends. */
export class Place {
  /** @type {Driver} */
  driver;
  /** For each contestant of a measurement. */
  seconds;
  /** An empty directory on tmpfs. */
  directory;
  #files = 0;

  /**
   * @param {Driver} driver
   * @param {number} seconds
   */
  constructor(driver, seconds) {
    this.driver = driver;
    this.seconds = seconds;
    const parent = ["/dev/shm", tmpdir()].find(isTmpfs);
    if (parent === undefined) {
      throw new Unmeasurable("no tmpfs was found at /dev/shm or at the temporary directory");
    }
    this.directory = mkdtempSync(join(parent, "holdfast-bench-"));
    process.on("exit", () => {
      this.#unmount();
      rmSync(this.directory, { recursive: true, force: true });
    });
  }

  /** What a run that a signal has ended leaves mounted. */
  #unmount() {
    process.chdir("/");
    const mounted = readFileSync("/proc/self/mounts", "utf8").split("\n");
    for (const line of mounted) {
      const [, directory = ""] = line.split(" ");
      if (!directory.startsWith(`${this.directory}/`)) continue;
      spawnSync("umount", [directory], { env: environment });
    }
  }

  /**
   * Memory runs out under a mapping as SIGBUS, so a group says beforehand what it needs.
   * @param {number} bytes
   */
  assertRoom(bytes) {
    const { bavail, bsize } = statfsSync(this.directory);
    const room = Math.min(bavail * bsize, process.availableMemory());
    if (room >= bytes) return;
    const [needed, there] = [bytes, room].map((value) => `${Math.ceil(value / 2 ** 20)} MiB`);
    throw new Unmeasurable(`it needs ${needed} on tmpfs and in memory, and there are ${there}`);
  }

  /** A new path on tmpfs. */
  path(name = "file") {
    return join(this.directory, `${name}-${++this.#files}`);
  }

  /**
   * A sparse ext4 image, as mkfs.ext4 makes it, of 4 KiB blocks.
   * @param {number} sizeBytes
   * @param {string} [path] Where; else on tmpfs.
   */
  makeImage(sizeBytes, path = this.path("image")) {
    closeSync(openSync(path, "wx"));
    truncateSync(path, sizeBytes);
    const args = ["-q", "-F", "-b", "4096", path];
    const { error, status, stderr } = spawnSync("mkfs.ext4", args, {
      env: environment,
      encoding: "utf8",
    });
    if (error !== undefined) throw new Unmeasurable("mkfs.ext4 (of e2fsprogs) is not installed");
    if (status !== 0) throw new Error(`mkfs.ext4 ended with ${status}: ${stderr}`);
    return path;
  }

  /**
   * Runs `use` on an empty volume, which is gone afterwards.
   * @template T
   * @param {number} sizeBytes
   * @param {(volume: Volume) => Promise<T>} use
   */
  async withVolume(sizeBytes, use) {
    const image = this.driver === "ext4" ? this.makeImage(sizeBytes) : null;
    const volume = image === null ? mountRamSync({ size: sizeBytes }) : mountSync(image);
    try {
      return await use(volume);
    } finally {
      await volume.close();
      if (image !== null) rmSync(image);
    }
  }

  /**
   * Runs `use` in the directory where the kernel has mounted an image.
   * Throws: Unmeasurable without root, or without loop devices.
   * @template T
   * @param {string} image
   * @param {(directory: string) => Promise<T>} use
   */
  async withLoopMount(image, use) {
    const directory = this.path("mount");
    mkdirSync(directory);
    const { status, stderr } = spawnSync("mount", ["-o", "loop", image, directory], {
      env: environment,
      encoding: "utf8",
    });
    if (status !== 0) throw new Unmeasurable(`the image cannot be mounted: ${stderr.trim()}`);
    try {
      return await use(directory);
    } finally {
      process.chdir("/");
      spawnSync("umount", [directory], { env: environment });
    }
  }

  /**
   * Runs `use` with a descriptor of an empty file on tmpfs.
   * @template T
   * @param {(fd: number, path: string) => Promise<T>} use
   */
  async withFile(use) {
    const path = this.path();
    const fd = openSync(path, "wx+");
    try {
      return await use(fd, path);
    } finally {
      closeSync(fd);
      rmSync(path);
    }
  }
}

/**
 * Fills a file with bytes that are not zero, through a function that writes at a position.
 * @param {number} sizeBytes
 * @param {(bytes: Uint8Array, position: number) => number} write
 */
export function fill(sizeBytes, write) {
  const chunk = new Uint8Array(2 ** 22).fill(0x5a);
  for (let done = 0; done < sizeBytes; ) {
    const rest = sizeBytes - done;
    const written = write(rest < chunk.length ? chunk.subarray(0, rest) : chunk, done);
    if (written <= 0) throw new Error(`the volume is full after ${done} of ${sizeBytes} bytes`);
    done += written;
  }
}
