// The table of docs/formats.md is exact, row by row: a volume with each feature is read and written, read, or
// refused, as it says, and e2fsck finds nothing afterwards.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect } from "vitest";
import { root } from "../../scripts/tree.js";
import { mountSync } from "../../src/index.ts";
import { e2fsckClean, mkfsExt4, skipUnless, temporaryDirectory } from "../support/tools.ts";

const MEBIBYTE = 2 ** 20;

/** What mke2fs wants beside a feature, or instead of what it does not go together with. */
const BESIDE: Record<string, string> = {
  ext_attr: "^has_journal",
  meta_bg: "^resize_inode",
  metadata_csum_seed: "metadata_csum",
  sparse_super2: "^resize_inode,^sparse_super",
  uninit_bg: "^metadata_csum",
};

const ROW = /^\| `(\w+)` \| (read and written|read|refused) \|/gm;
const table = readFileSync(join(root, "docs/formats.md"), "utf8");
const rows = Array.from(table.matchAll(ROW), ([, feature, volume]) => ({
  feature: feature!,
  volume: volume!,
}));

function whatHappens(image: string): string {
  let volume: ReturnType<typeof mountSync>;
  try {
    volume = mountSync(image);
  } catch (error) {
    expect(error).toMatchObject({ code: "EOPNOTSUPP" });
    return "refused";
  }
  try {
    expect(volume.readdirSync("/")).toContain("lost+found");
    if (volume.readOnly) return "read";
    volume.mkdirSync("/directory");
    volume.writeFileSync("/directory/file", Buffer.alloc(10_000, "x"));
    expect(volume.readFileSync("/directory/file").length).toBe(10_000);
    return "read and written";
  } finally {
    volume.closeSync();
  }
}

describe("docs/formats.md", () => {
  skipUnless("mkfs.ext4", "e2fsck").each(rows)("$feature: $volume", ({ feature, volume }) => {
    using directory = temporaryDirectory();
    const image = directory.file("image");
    const options = [feature, BESIDE[feature]].filter((each) => each !== undefined).join(",");
    mkfsExt4(image, 64 * MEBIBYTE, ["-O", options]);
    expect(whatHappens(image)).toBe(volume);
    if (volume !== "refused") expect(e2fsckClean(image)).toMatchObject({ clean: true });
  });
});
