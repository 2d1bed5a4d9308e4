// What the kernel is made to do on a volume with fast commits, and the image that a crash leaves then.

import { copyFileSync, existsSync } from "node:fs";
import * as fs from "node:fs";
import { expect } from "vitest";
import { mountSync } from "../../src/index.ts";
import type { Random } from "../support/random.ts";
import { setAttribute } from "../interop/libc.ts";
import { differences, kernelPlace, type Tree, treeOf, volumePlace } from "../interop/trees.ts";
import { loopMount, mkfsExt4, run, runOk, type TemporaryDirectory } from "../support/tools.ts";
import { type Event, record } from "./recorder.ts";

export interface Shape {
  readonly blockSize: number;
  readonly sizeMiB?: number;
  readonly args: readonly string[];
}

/** An image that was copied while the kernel had it mounted, and what was in it. */
export interface Crashed {
  readonly image: string;
  /** As the kernel showed it: all of it had been synced. */
  readonly tree: Tree;
  readonly fastCommits: number;
  readonly story: readonly string[];
}

const MIB = 2 ** 20;
export const REGION_BYTES = 2 ** 26;

/** Fast commits in an image's journal, as debugfs counts them: those of the transaction that has not come yet. */
export function countFastCommits(image: string): number {
  const log = runOk("debugfs", ["-R", "logdump -S", image]);
  const [ring, area] = log.split("*** Fast Commit Area ***");
  const last = [...(ring ?? "").matchAll(/Found expected sequence (\d+), type 2/g)].at(-1)?.[1];
  const tails = [...(area ?? "").matchAll(/tag TAIL, tid (\d+)/g)];
  return tails.filter(([, sequence]) => Number(sequence) === Number(last) + 1).length;
}

/** Random work on a directory of the kernel's. Each step ends with what was changed on the medium. */
export class Work {
  readonly #root: string;
  readonly #random: Random;
  readonly story: string[] = [];
  #names = 0;

  constructor(root: string, random: Random) {
    this.#root = root;
    this.#random = random;
  }

  /** What there is before the fast commits. */
  prepare(): void {
    for (const name of ["a", "b", "a/empty", "b/empty"]) fs.mkdirSync(`${this.#root}/${name}`);
    for (let index = 0; index < 12; index++) {
      fs.writeFileSync(`${this.#root}/a/f${index}`, Buffer.alloc(index * 3000, `${index % 10}`));
    }
    // A block of attributes that files share: for those the kernel writes fast commits of some changes only.
    for (let index = 0; index < 2; index++) {
      setAttribute(`${this.#root}/a/f${index}`, "user.shared", "shared ".repeat(50));
    }
    // Extents that do not touch: a tree with nodes.
    const sparse = fs.openSync(`${this.#root}/b/sparse`, "w");
    for (let index = 0; index < 40; index++) fs.writeSync(sparse, "s".repeat(300), index * 20_000);
    fs.closeSync(sparse);
    fs.linkSync(`${this.#root}/a/f3`, `${this.#root}/b/link`);
  }

  /** Has the kernel write one transaction: without any it writes no fast commits. */
  begin(): void {
    fs.writeFileSync(`${this.#root}/marker`, "");
    runOk("sync", ["-f", this.#root]);
  }

  #files(): string[] {
    return ["a", "b", "."].flatMap((directory) =>
      fs
        .readdirSync(`${this.#root}/${directory}`, { withFileTypes: true })
        .filter((entry) => entry.isFile() && entry.name !== "marker")
        .map((entry) => `${directory}/${entry.name}`)
        .sort(),
    );
  }

  #fsync(path: string): void {
    const file = fs.openSync(`${this.#root}/${path}`, "r+");
    fs.fsyncSync(file);
    fs.closeSync(file);
  }

  #write(path: string, at: number | null, length: number): void {
    const file = fs.openSync(`${this.#root}/${path}`, at === null ? "a" : "r+");
    fs.writeSync(file, Buffer.alloc(length, `${path}${at}${this.#names}.`), 0, length, at);
    fs.closeSync(file);
  }

  #fallocate(path: string, mode: string, at: number, length: number): void {
    runOk("fallocate", [mode, "-o", `${at}`, "-l", `${length}`, `${this.#root}/${path}`]);
  }

  #newName(directory: string): string {
    // Short and long ones, so that directories grow.
    const long = this.#random.below(3) === 0 ? "-long".repeat(30) : "";
    return `${directory}/n${this.#names++}${long}`;
  }

  /** One step, of a kind: what is told of it. */
  #step(): string {
    const random = this.#random;
    const at = (path: string) => `${this.#root}/${path}`;
    const path = random.pick(this.#files());
    const { size } = fs.statSync(at(path));
    const place = random.below(Math.max(size, 1));
    const length = 1 + random.below(random.pick([100, 5000, 60_000]));
    const kind = random.below(16);
    const made = this.#newName(random.pick(["a", "b", "."]));
    if (kind < 3) {
      fs.writeFileSync(at(made), Buffer.alloc(length, made));
      this.#fsync(made);
      return `create ${made} of ${length}`;
    }
    if (kind === 3) this.#write(path, null, length);
    else if (kind === 4) this.#write(path, place, length);
    else if (kind === 5) this.#write(path, size + random.below(200_000), length);
    else if (kind === 6) fs.truncateSync(at(path), place);
    else if (kind === 7) this.#fallocate(path, "-pn", place, length);
    else if (kind === 8) this.#fallocate(path, "-n", place, length);
    else if (kind === 9) fs.chmodSync(at(path), 0o600 + random.below(0o70));
    else if (kind === 10) fs.utimesSync(at(path), 1e9 + random.below(1e8), 1e9);
    else if (kind === 11) {
      fs.renameSync(at(path), at(made));
      return `rename ${path} to ${made}`;
    } else if (kind === 12) {
      const other = random.pick(this.#files());
      fs.renameSync(at(path), at(other));
      return `rename ${path} to ${other}`;
    } else if (kind === 13) {
      fs.linkSync(at(path), at(made));
      return `link ${path} as ${made}`;
    } else if (kind === 14) {
      fs.unlinkSync(at(path));
      return `unlink ${path}`;
    } else return this.#directories(made);
    this.#fsync(path);
    return `${["append", "write", "write beyond", "truncate", "punch", "preallocate", "chmod", "utimes"][kind - 3]} ${path} ${place} ${length}`;
  }

  #directories(made: string): string {
    const at = (path: string) => `${this.#root}/${path}`;
    const empty = ["a/empty", "b/empty"].find((path) => existsSync(at(path)));
    if (empty !== undefined && this.#random.below(2) === 0) {
      fs.rmdirSync(at(empty));
      return `rmdir ${empty}`;
    }
    fs.mkdirSync(at(made));
    for (let index = 0; index < this.#random.below(20); index++) {
      const name = `${made}/${"inside".repeat(8)}${index}`;
      fs.writeFileSync(at(name), name);
      this.#fsync(name);
    }
    return `mkdir ${made}`;
  }

  run(steps: number): void {
    for (let step = 0; step < steps; step++) this.story.push(this.#step());
    // What has not come with an fsync of its own comes with this.
    fs.appendFileSync(`${this.#root}/marker`, "m");
    this.#fsync("marker");
  }
}

/** Has the kernel work, and copies the image after each of `counts` steps. */
export function crashesOf(
  directory: TemporaryDirectory,
  { blockSize, args, sizeMiB = 24 }: Shape,
  random: Random,
  counts: readonly number[],
): Crashed[] {
  const [image, root] = [directory.file("base"), directory.file("mnt")];
  mkfsExt4(image, sizeMiB * MIB, ["-b", `${blockSize}`, "-O", "fast_commit", ...args]);
  fs.mkdirSync(root, { recursive: true });
  const crashes: Crashed[] = [];
  const work = new Work(root, random);
  {
    using _mounted = loopMount(image, root);
    work.prepare();
  }
  // The log is empty: it has little of what fast commits change.
  using _mounted = loopMount(image, root);
  work.begin();
  for (const [index, count] of counts.entries()) {
    work.run(count);
    const tree = treeOf(kernelPlace(root));
    const copy = directory.file(`crash-${index}`);
    copyFileSync(image, copy);
    crashes.push({
      image: copy,
      tree,
      fastCommits: countFastCommits(copy),
      story: [...work.story],
    });
  }
  return crashes;
}

/**
 * A tree without what differs after a recovery: of directories times and sizes. After the kernel's: also their links, as it
 * counts neither a new directory's links nor those of the one above; and space, as it leaves out blocks of attributes.
 */
export function comparable(tree: Tree, isKernels = false): Tree {
  const entries = [...tree].map(([path, seen]) => {
    const counted = isKernels ? { ...seen, blocks: 0 } : seen;
    if ((seen.mode & 0o170000) !== 0o040000) return [path, counted] as const;
    const nlink = isKernels ? 0 : seen.nlink;
    return [path, { ...counted, nlink, mtime: 0n, ctime: 0n, size: 0, blocks: 0 }] as const;
  });
  return new Map(entries);
}

/**
 * The tree that the kernel shows after its own recovery; null where it cannot mount the image. It cannot where the area of
 * fast commits is full: it reads on behind its end, as e2fsck does.
 */
export function kernelTree(image: string, root: string): Tree | null {
  fs.mkdirSync(root, { recursive: true });
  const { code } = run("mount", ["-o", "loop", image, root]);
  if (code !== 0) return null;
  try {
    return treeOf(kernelPlace(root));
  } finally {
    runOk("umount", [root]);
  }
}

/** What happens to an image whose volume is mounted, which recovers it, and unmounted. */
export function recordRecovery(image: string): Event[] {
  return record(image, (mark) => {
    mark(0);
    const volume = mountSync(image, { regionBytes: REGION_BYTES });
    expect(volume.readOnlyReason).toBe(null);
    volume.closeSync();
  });
}

/** What is in an image's volume as we mount it; read-only, and recovered in memory, or so that it can be written. */
export function ourTree(image: string, readOnly: boolean): Tree {
  const volume = mountSync(image, { readOnly, regionBytes: REGION_BYTES });
  try {
    if (!readOnly) expect(volume.readOnlyReason).toBe(null);
    return treeOf(volumePlace(volume));
  } finally {
    volume.closeSync();
  }
}

/** How a recovered tree differs from the one that is expected, the space that files take included. */
export function differ(found: Tree, expected: Tree): string[] {
  return differences(comparable(expected, true), comparable(found, true), ["atime"]);
}
