// An image that Holdfast and the kernel use in turn, with e2fsck after each.

import { expect } from "vitest";
import { mountSync, type Volume } from "../../src/index.ts";
import { e2fsckClean, loopMount, temporaryDirectory } from "../support/tools.ts";
import { differences, kernelPlace, type Tree, treeOf, volumePlace } from "./trees.ts";

/** What the tests of this directory need of the machine. */
export const needs = ["root", "mkfs.ext4", "e2fsck", "debugfs", "loop mounts"] as const;

export class Handed implements Disposable {
  readonly #scratch = temporaryDirectory();
  readonly #mountPoint = temporaryDirectory();
  readonly image = this.#scratch.file("image");

  [Symbol.dispose](): void {
    this.#mountPoint[Symbol.dispose]();
    this.#scratch[Symbol.dispose]();
  }

  #check(after: string): void {
    const { clean, output } = e2fsckClean(this.image);
    expect(clean ? "" : `after ${after}: ${output}`).toBe("");
  }

  /** Mounts it with Holdfast. `what` is for the message when e2fsck finds something afterwards. */
  toHoldfast<T>(what: string, use: (volume: Volume) => T, readOnly = false): T {
    const volume = mountSync(this.image, { readOnly, regionBytes: 2 ** 29 });
    let result: T;
    try {
      expect(volume.readOnly).toBe(readOnly);
      result = use(volume);
    } finally {
      volume.closeSync();
    }
    this.#check(what);
    return result;
  }

  toKernel<T>(what: string, use: (root: string) => T, readOnly = false): T {
    const options = readOnly ? ["ro"] : ["noatime"];
    const mounted = loopMount(this.image, this.#mountPoint.path, options);
    let result: T;
    try {
      result = use(mounted.directory);
    } finally {
      mounted.unmount();
    }
    this.#check(what);
    return result;
  }

  /** The tree as both see it, which must be one, and equal to `expected`. */
  assertSame(expected?: Tree): Tree {
    const kernel = this.toKernel("reading", (root) => treeOf(kernelPlace(root)), true);
    const own = this.toHoldfast("reading", (volume) => treeOf(volumePlace(volume)), true);
    expect(differences(kernel, own)).toEqual([]);
    if (expected !== undefined) expect(differences(expected, kernel)).toEqual([]);
    return kernel;
  }
}
