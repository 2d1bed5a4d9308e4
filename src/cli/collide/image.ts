/** The volume of a run: an image made by mkfs.ext4 or unpacked from the package, and e2fsck. */
import { spawnSync } from "node:child_process";
import {
  accessSync,
  closeSync,
  constants,
  ftruncateSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { brotliDecompressSync } from "node:zlib";
import { HoldfastError } from "../../base/errors.ts";
import { BLOCK_BYTES } from "./stamp.ts";

const PACKED_BYTES = 64 * 2 ** 20;
const PACKED_NAME = "volume-64m.ext4.br";

/** A directory of the run's own, with room for its files. It goes when the process ends. */
export class Scratch {
  readonly path: string;
  #keeps = false;
  readonly #onExit = (): void => this.remove();

  constructor(bytesWanted: number) {
    this.path = mkdtempSync(join(roomyDirectory(bytesWanted), "holdfast-collide-"));
    process.on("exit", this.#onExit);
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Leaves the directory behind. */
  keep(): void {
    this.#keeps = true;
  }

  remove(): void {
    process.off("exit", this.#onExit);
    if (!this.#keeps) rmSync(this.path, { recursive: true, force: true });
  }
}

function roomyDirectory(bytesWanted: number): string {
  const inMemory = "/dev/shm";
  try {
    accessSync(inMemory, constants.W_OK);
    const { bavail, bsize } = statfsSync(inMemory);
    if (bavail * bsize > bytesWanted) return inMemory;
  } catch {
    // No such directory, or not ours to write: the temporary directory serves as well.
  }
  return tmpdir();
}

// Debian keeps the filesystem tools where an ordinary user's PATH does not look.
const searchPath = [process.env["PATH"] ?? "", "/usr/sbin", "/sbin"];

function runTool(name: string, args: readonly string[]): ReturnType<typeof spawnText> | null {
  const result = spawnText(name, args);
  const missing =
    result.error !== undefined && "code" in result.error && result.error.code === "ENOENT";
  if (missing) return null;
  if (result.error !== undefined) throw result.error;
  return result;
}

function spawnText(name: string, args: readonly string[]) {
  return spawnSync(name, args, {
    encoding: "utf8",
    env: { ...process.env, PATH: searchPath.join(delimiter), LC_ALL: "C" },
  });
}

/** Makes an empty ext4 image with 4 KiB blocks. Returns who made it, in words. */
export function makeExt4Image(path: string, byteLength: number): string {
  const descriptor = openSync(path, "wx", 0o600);
  try {
    ftruncateSync(descriptor, byteLength);
    const made = runTool("mkfs.ext4", ["-q", "-F", "-b", String(BLOCK_BYTES), path]);
    if (made === null) {
      unpackImage(descriptor, byteLength);
      return "unpacked from the package";
    }
    if (made.status !== 0) {
      throw new HoldfastError("EIO", `mkfs.ext4 failed: ${made.stderr.trim()}`, { path });
    }
    return "made by mkfs.ext4";
  } finally {
    closeSync(descriptor);
  }
}

/** Writes the packed image sparsely. Throws: EOPNOTSUPP for another size than it has. */
export function unpackImage(descriptor: number, byteLength: number): void {
  if (byteLength !== PACKED_BYTES) {
    throw new HoldfastError(
      "EOPNOTSUPP",
      "mkfs.ext4 is not installed, and the packed volume is 64 MiB: " +
        "leave --size out, or install e2fsprogs",
    );
  }
  const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
  const image = brotliDecompressSync(readFileSync(join(root, "assets", PACKED_NAME)));
  const zeroes = Buffer.alloc(BLOCK_BYTES);
  for (let at = 0; at < image.length; at += BLOCK_BYTES) {
    const block = image.subarray(at, at + BLOCK_BYTES);
    if (!block.equals(zeroes)) writeSync(descriptor, block, 0, block.length, at);
  }
}

/** What `e2fsck -fn` says of an image. */
export interface Verdict {
  /** null: e2fsck is not installed. */
  readonly isClean: boolean | null;
  /** Its complaints, one to a line; empty when it is clean. */
  readonly complaints: readonly string[];
}

export function checkExt4Image(path: string): Verdict {
  const checked = runTool("e2fsck", ["-f", "-n", path]);
  if (checked === null) return { isClean: null, complaints: [] };
  if (checked.status === 0) return { isClean: true, complaints: [] };
  const lines = checked.stdout.split("\n").map((line) => line.trim());
  const complaints = lines.filter(
    (line) => line !== "" && !/^Pass \d|^e2fsck |^\d+-|^Fix\?/.test(line),
  );
  return { isClean: false, complaints: complaints.slice(0, 20) };
}
