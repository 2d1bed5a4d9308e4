// Batches of random steps: what they answered, and the tree that they left.

import { statSync, utimesSync } from "node:fs";
import { type Filesystem, onNode, outcomeSync, type Step } from "./calls.ts";
import { type Place, type Seen, type Tree, treeOf } from "./trees.ts";

/** Which inode is taken, and when it was, is each one's own affair; directories may have grown otherwise. */
export const OWN: readonly (keyof Seen)[] = ["ino", "atime", "ctime", "birthtime", "blocks"];

export interface Batch {
  readonly answers: readonly (readonly [string, { value: unknown } | { code: string }])[];
  readonly tree: Tree;
  /** Times from here on are "now". */
  readonly begin: bigint;
}

export function runBatch(on: Filesystem, place: Place, batch: readonly Step[]): Batch {
  const begin = BigInt(Date.now() - 600_000) * 1_000_000n;
  const answers = batch.map((step) => [step.text, outcomeSync(step, on)] as const);
  return { answers, tree: withoutNow(treeOf(place), begin), begin };
}

/** A time that was not set is about now, and no more is asked of it. */
export function withoutNow(tree: Tree, begin: bigint): Tree {
  const isNow = (time: bigint): boolean => time >= begin && time < begin + 3600n * 10n ** 9n;
  const settled = ([path, seen]: [string, Seen]): [string, Seen] => [
    path,
    isNow(seen.mtime) ? { ...seen, mtime: -1n } : seen,
  ];
  return new Map([...tree].filter(([path]) => path !== "/lost+found").map(settled));
}

/** The kernel's. It sets a file's times also where it then refuses to change how the file is backed: that is undone. */
export function onKernel(root: string): Filesystem {
  const on = onNode(root);
  return {
    ...on,
    fallocate(path, ...change) {
      const before = statSync(`${root}/${path}`, { throwIfNoEntry: false });
      try {
        return on.fallocate(path, ...change);
      } catch (error) {
        if (before?.isFile()) utimesSync(`${root}/${path}`, before.atime, before.mtime);
        throw error;
      }
    },
  };
}
