// FITRIM, by fstrim(8), as on the kernel's ext4: the same is discarded, and the same is refused.

import { copyFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { loopMount, run, skipUnless, temporaryDirectory } from "../support/tools.ts";
import { Mounted, needs } from "./mounted.ts";

const SIZE = 64 * 2 ** 20;
const FILES = 8;

function fill(root: string): void {
  const bytes = Buffer.alloc(2 ** 20, "x");
  for (let number = 0; number < FILES; number++) writeFileSync(join(root, `f${number}`), bytes);
}

function free(root: string): void {
  for (let number = 0; number < FILES; number += 2) rmSync(join(root, `f${number}`));
  run("sync", ["-f", root]);
}

/** What fstrim says, without the place, by each of these arguments. */
function answers(root: string): unknown {
  const attempts = [
    ["--length", "1000"],
    ["--offset", "1T"],
    ["--verbose", "--minimum", "100K"],
  ];
  return [
    ...attempts.map((args) => run("fstrim", [...args, root])),
    run("setpriv", ["--reuid=1000", "--clear-groups", "fstrim", root]),
  ].map(({ code, stdout, stderr }) => [code, `${stdout}${stderr}`.replaceAll(root, "")]);
}

skipUnless(
  ...needs,
  "loop mounts",
  "fstrim",
  "setpriv",
)("fstrim discards, and is refused, what it is on the kernel's ext4", { timeout: 60_000 }, () => {
  using mounted = new Mounted(SIZE, ["-b", "4096"]);
  using place = temporaryDirectory();
  using scratch = temporaryDirectory();
  {
    using kernel = loopMount(mounted.image, place.path);
    fill(kernel.directory);
  }
  {
    using kernel = loopMount(mounted.image, place.path);
    free(kernel.directory);
  }
  copyFileSync(mounted.image, scratch.file("image"));
  const stored = (): number => statSync(mounted.image).blocks;
  const before = stored();
  const actual = mounted.with(answers);
  expect(stored()).toBeLessThan(before);
  using kernel = loopMount(scratch.file("image"), place.path);
  expect(actual).toEqual(answers(kernel.directory));
});

skipUnless(...needs, "fstrim")(
  "fstrim is refused on what is only read",
  { timeout: 60_000 },
  () => {
    using mounted = new Mounted(SIZE);
    const { code, stderr } = mounted.with((root) => run("fstrim", [root]), "-o", "ro");
    expect([code, stderr]).toEqual([1, expect.stringContaining("Read-only file system")]);
  },
);
