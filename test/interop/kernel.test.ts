// Volumes go back and forth between Holdfast and the kernel: what one has written the other reads equal,
// every name, byte and attribute, and e2fsck finds nothing at any hand-over.

import * as fs from "node:fs";
import { describe, expect, test } from "vitest";
import type { Volume } from "../../src/index.ts";
import { mkfsExt4, runOk, skipUnless, temporaryDirectory } from "../support/tools.ts";
import {
  changeAtRandom,
  type Changes,
  type Model,
  MODES,
  MODES_OF_POINTERS,
  openInDirectory,
  openInVolume,
  wrongContents,
} from "./contents.ts";
import { DEPTH, fillVolume, NAMES_IN_LARGE_DIRECTORY } from "./filling.ts";
import { Handed, needs } from "./handed.ts";
import { differences, kernelPlace, treeOf, volumePlace } from "./trees.ts";

const VOLUME_BYTES = 700 * 2 ** 20;

/** What the kernel does to a volume that Holdfast filled. */
function changeByKernel(root: string, models: Map<string, Model>, changes: Changes): void {
  const at = (path: string): string => `${root}${path}`;
  changeAtRandom(openInDirectory(root), models, changes.blockSize + 1, 60, changes);
  fs.appendFileSync(at("/linked"), "and more");
  fs.appendFileSync(at("/between"), new Uint8Array(100_000).fill(0x17));
  fs.renameSync(at("/to/inner"), at("/deep/inner"));
  fs.renameSync(at("/deep/level-0"), at("/to/level-0"));
  fs.rmSync(at("/to/level-0/level-1/level-2/level-3"), { recursive: true });
  fs.truncateSync(at("/huge"), 4 * 2 ** 30 + 100);
  fs.truncateSync(at("/fragmented"), 1_000_001);
  const names = fs.readdirSync(at("/large"));
  for (const name of names.filter((_, index) => index % 3 === 0))
    fs.unlinkSync(at(`/large/${name}`));
  for (let index = 0; index < 3000; index++) fs.writeFileSync(at(`/large/kernel-${index}`), "");
  runOk("cp", ["-a", at("/names"), at("/names-copy")]);
  fs.writeFileSync(at("/by-kernel"), new Uint8Array(3_000_000).fill(0x29));
}

/** What Holdfast then does to what the kernel left. */
function changeAgain(volume: Volume, models: Map<string, Model>, changes: Changes): void {
  const { blockSize } = changes;
  changeAtRandom(openInVolume(volume), models, blockSize + 2, 200, changes);
  using file = volume.openSync("/by-kernel", "r+");
  for (let at = 0; at < 3_000_000 - blockSize; at += 7 * blockSize) {
    file.fallocateSync("punch-hole", at, blockSize);
  }
  for (const name of volume.readdirSync("/names-copy", { withFileTypes: true })) {
    volume.unlinkSync(Buffer.concat([Buffer.from("/names-copy/"), name.nameBytes]));
  }
  volume.rmdirSync("/names-copy");
  for (const name of volume.readdirSync("/large")) volume.unlinkSync(`/large/${name}`);
  volume.rmdirSync("/large");
  volume.unlinkSync("/huge-hole");
  volume.unlinkSync("/fragmented");
  volume.truncateSync("/interleaved-a", 12_345);
}

function depthOf(image: string, path: string): number {
  const levels = runOk("debugfs", ["-R", `dump_extents ${path}`, image]).matchAll(
    /^ *\d+\/ *(\d+)/gm,
  );
  return Math.max(...[...levels].map(([, depth]) => Number(depth)));
}

test("the comparison sees a changed byte, mode, time and name", () => {
  using directory = temporaryDirectory();
  const at = directory.file;
  const look = () => treeOf(kernelPlace(directory.path));
  const change = (act: () => void): string => {
    const before = look();
    act();
    return differences(before, look(), ["atime", "ctime"]).join("\n");
  };
  fs.writeFileSync(at("file"), "content");
  fs.chmodSync(at("file"), 0o644);
  fs.symlinkSync("here", at("link"));
  fs.utimesSync(at("file"), 1, 1);
  expect(change(() => {})).toBe("");
  const rewrite = (): void => {
    fs.writeFileSync(at("file"), "Content");
    fs.utimesSync(at("file"), 1, 1);
  };
  expect(change(rewrite)).toMatch(/^\/file: content is \w+, expected \w+$/);
  expect(change(() => fs.chmodSync(at("file"), 0o600))).toMatch(/^\/file: mode is/);
  expect(change(() => fs.utimesSync(at("file"), 1, 2))).toMatch(/^\/file: mtime is/);
  expect(change(() => fs.linkSync(at("file"), at("other")))).toMatch(/other should not be there/);
  expect(change(() => fs.unlinkSync(at("link")))).toMatch(/\/link is missing/);
});

describe.each([
  ["ext4", 1024],
  ["ext4", 2048],
  ["ext4", 4096],
  ["ext2", 2048],
  ["ext3", 4096],
] as const)("%s, blocks of %i bytes", (type, blockSize) => {
  const hasExtents = type === "ext4";
  const changes: Changes = { blockSize, modes: hasExtents ? MODES : MODES_OF_POINTERS };

  skipUnless(...needs)(
    "kernel and Holdfast read each other's volumes equal, through four hand-overs",
    () => {
      using handed = new Handed();
      const shape = ["-t", type, "-b", String(blockSize), "-N", "60000"];
      mkfsExt4(handed.image, VOLUME_BYTES, shape);

      const [models, filled] = handed.toHoldfast("filling", (volume) => {
        const models = fillVolume(volume, changes);
        return [models, treeOf(volumePlace(volume))] as const;
      });
      if (hasExtents) expect(depthOf(handed.image, "/fragmented")).toBe(DEPTH[blockSize]);
      expect([...filled.keys()].filter((path) => path.startsWith("/large/")).length).toBe(
        NAMES_IN_LARGE_DIRECTORY * 0.8 + 500,
      );
      handed.assertSame(filled);

      handed.toKernel("the kernel's changes", (root) => {
        expect(wrongContents(root, models)).toEqual([]);
        changeByKernel(root, models, changes);
      });
      handed.assertSame();

      const changed = handed.toHoldfast("changes to what the kernel left", (volume) => {
        changeAgain(volume, models, changes);
        return treeOf(volumePlace(volume));
      });
      handed.assertSame(changed);
      handed.toKernel(
        "a last look",
        (root) => expect(wrongContents(root, models)).toEqual([]),
        true,
      );

      handed.toHoldfast("removing everything", removeEverything);
      handed.assertSame();
    },
    600_000,
  );
});

/** Every block and inode comes back: e2fsck counts them. */
function removeEverything(volume: Volume): void {
  const remove = (directory: Uint8Array): void => {
    for (const entry of volume.readdirSync(directory, { withFileTypes: true })) {
      if (entry.name === "lost+found") continue;
      const path = Buffer.concat([directory, Buffer.from("/"), entry.nameBytes]);
      if (entry.isDirectory()) {
        remove(path);
        volume.rmdirSync(path);
      } else volume.unlinkSync(path);
    }
  };
  remove(Buffer.from("/"));
}
