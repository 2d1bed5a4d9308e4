// Volumes in the kernel's tree, by the built program: another process serves them, so that tests may block.

import { expect } from "vitest";
import { join } from "node:path";
import { dist } from "../../scripts/tree.js";
import {
  e2fsckClean,
  mkfsExt4,
  type Outcome,
  run,
  runOk,
  temporaryDirectory,
} from "../support/tools.ts";

/** What the tests of this directory need of the machine. */
export const needs = ["root", "fuse", "mkfs.ext4", "e2fsck"] as const;

export const program = join(dist, "cli", "main.js");

export function holdfast(...args: readonly string[]): Outcome {
  return run(process.execPath, [program, ...args]);
}

/** Blocks until what changes now has another time than what changed before. */
export const pause = (): void =>
  void Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 15);

/** An image, and where it is mounted when it is. Unmounted and gone when disposed. */
export class Mounted implements Disposable {
  readonly #scratch = temporaryDirectory();
  readonly #place = temporaryDirectory();
  readonly image = this.#scratch.file("image");
  readonly directory = this.#place.path;

  /** `make`: arguments of mke2fs; null: the image is there already. */
  constructor(sizeBytes: number, make: readonly string[] = []) {
    mkfsExt4(this.image, sizeBytes, make);
  }

  file(name: string): string {
    return join(this.directory, name);
  }

  mount(...options: readonly string[]): void {
    runOk(process.execPath, [program, "mount", ...options, this.image, this.directory]);
  }

  /** Unmounts, and has e2fsck look at what is left. */
  unmount(): void {
    const { code, stderr } = holdfast("umount", this.directory);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    const { clean, output } = e2fsckClean(this.image);
    expect(clean ? "" : output).toBe("");
  }

  /** `use` of the mount, between mount and unmount. */
  with<T>(use: (directory: string) => T, ...options: readonly string[]): T {
    this.mount(...options);
    const result = use(this.directory);
    this.unmount();
    return result;
  }

  [Symbol.dispose](): void {
    run("umount", ["-l", this.directory]);
    this.#place[Symbol.dispose]();
    this.#scratch[Symbol.dispose]();
  }
}
