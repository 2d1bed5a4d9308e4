// Volumes that the kernel was writing: their journals, replayed by our mount, and by e2fsck, and compared.

import * as fs from "node:fs";
import { describe, expect } from "vitest";
import { differences } from "../interop/trees.ts";
import {
  e2fsckClean,
  loopMount,
  mkfsExt4,
  run,
  runOk,
  skipUnless,
  temporaryDirectory,
} from "../support/tools.ts";
import { ourTree } from "./fast-commit-work.ts";

/** Changes of all kinds; directories that grow and go leave revoke records. Returns a file without a name. */
function work(root: string, round: number): number {
  const directory = `${root}/d${round}`;
  fs.mkdirSync(directory);
  for (let index = 0; index < 120; index++) {
    const path = `${directory}/${"n".repeat(40)}${index}`;
    fs.writeFileSync(path, Buffer.alloc(500 + index * 97, `${round}`));
    if (index % 3 === 0) fs.renameSync(path, `${directory}/r${index}`);
    if (index % 5 === 0)
      fs.linkSync(`${directory}/${fs.readdirSync(directory)[0]}`, `${directory}/l${index}`);
  }
  fs.symlinkSync("x".repeat(90), `${directory}/symlink`);
  if (round > 0) fs.rmSync(`${root}/d${round - 1}`, { recursive: true });
  const open = fs.openSync(`${root}/open`, "w");
  fs.writeSync(open, Buffer.alloc(30_000, "o"));
  fs.unlinkSync(`${root}/open`);
  return open;
}

describe.each([
  { args: ["-b", "4096"] },
  { args: ["-b", "1024"] },
  { args: ["-b", "2048", "-O", "^metadata_csum,^64bit"] },
  { args: ["-b", "1024", "-O", "^metadata_csum", "-O", "64bit"] },
  { args: ["-b", "1024", "-t", "ext3"] },
  { args: ["-b", "4096", "-O", "orphan_file"] },
  { args: ["-b", "4096", "-O", "fast_commit"] },
  { args: ["-b", "1024", "-O", "orphan_file,^metadata_csum"] },
])("a volume that the kernel was writing, made with $args", ({ args }) => {
  skipUnless(
    "root",
    "loop mounts",
    "mkfs.ext4",
    "e2fsck",
  )("is recovered as e2fsck recovers it, in memory and on the device", () => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    mkfsExt4(image, 24 << 20, args);
    const root = directory.file("mnt");
    fs.mkdirSync(root);
    const crashed: string[] = [];
    {
      using mounted = loopMount(image, root);
      for (let round = 0; round < 5; round++) {
        const open = work(mounted.directory, round);
        runOk("sync", ["-f", root]);
        // Not durable, but perhaps on the medium.
        fs.writeFileSync(`${root}/late`, `${round}`);
        crashed.push(directory.file(`crashed${round}`));
        fs.copyFileSync(image, crashed.at(-1)!);
        fs.closeSync(open);
      }
    }
    for (const path of crashed) {
      const [ours, theirs] = [`${path}-ours`, `${path}-theirs`];
      fs.copyFileSync(path, ours);
      fs.copyFileSync(path, theirs);
      expect(runOk("dumpe2fs", ["-h", path])).toContain("needs_recovery");
      const before = fs.readFileSync(ours);
      const inMemory = ourTree(ours, true);
      expect(fs.readFileSync(ours).equals(before)).toBe(true);
      const onDevice = ourTree(ours, false);
      expect(e2fsckClean(ours)).toMatchObject({ clean: true });
      expect(run("e2fsck", ["-f", "-y", theirs]).code).toBeLessThan(2);
      const expected = ourTree(theirs, true);
      expect(expected.size).toBeGreaterThan(120);
      expect(differences(expected, onDevice, ["atime"])).toEqual([]);
      expect(differences(expected, inMemory, ["atime"])).toEqual([]);
    }
  });
});
