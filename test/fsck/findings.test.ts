// Every code of a finding, from a damage that is made for it; e2fsck finds something wrong, too.

import { describe, expect, test } from "vitest";
import { type FindingCode, fsckSync } from "../../src/index.ts";
import { FINDING_CODES } from "../../src/drivers/ext/index.ts";
import { skipUnless } from "../support/tools.ts";
import { type Base, DamagedImage } from "./images.ts";
import { codesOf, e2fsckVerdict, shown } from "./referee.ts";

interface Case {
  readonly base?: Base;
  readonly damage: (image: DamagedImage) => void;
  /** Why e2fsck says nothing here; without it, it does. */
  readonly unknownToE2fsck?: string;
}

const SUPERBLOCK = 1024;
const CONTENT = 0x28;

/** The first extent, or index entry, of a node at a byte. */
const entry = (node: number, index = 0): number => node + 12 * (index + 1);

/** Not among them is what stands for damage that no verifier tells of today. */
const CASES: Readonly<Record<Exclude<FindingCode, "structure-damaged">, Case>> = {
  "superblock-unusable": { base: "groups", damage: (image) => image.set16(SUPERBLOCK + 0x38, 0) },
  "superblock-field": { damage: (image) => image.set32(SUPERBLOCK + 0x8, 8000) },
  "superblock-checksum": { base: "sums", damage: (image) => image.flip(SUPERBLOCK + 0x78) },
  "superblock-free-blocks": { damage: (image) => image.debugfs("ssv free_blocks_count 1") },
  "superblock-free-inodes": { damage: (image) => image.debugfs("ssv free_inodes_count 1") },
  "device-short": { damage: (image) => image.truncate(7 * 2 ** 20) },
  "group-checksum": { base: "sums", damage: (image) => image.flip(image.group(0) + 0x1e) },
  "group-field": { damage: (image) => image.set16(image.group(0) + 0x1c, 5) },
  "group-free-blocks": { damage: (image) => image.debugfs("set_bg 0 free_blocks_count 1") },
  "group-free-inodes": { damage: (image) => image.debugfs("set_bg 0 free_inodes_count 1") },
  "group-directories": { damage: (image) => image.debugfs("set_bg 0 used_dirs_count 1") },
  "structures-overlap": {
    damage: (image) => image.set32(image.group(1), image.u32(image.group(0))),
  },
  "resize-inode": { damage: (image) => image.set32(image.inode("<7>") + CONTENT + 4 * 13, 1) },
  "block-bitmap-checksum": {
    base: "sums",
    damage: (image) => image.flip(image.u32(image.group(0)) * 1024 + 100),
  },
  "block-bitmap": {
    damage: (image) => image.debugfs(`freeb ${image.block("hub") / image.blockSize}`),
  },
  "block-bitmap-padding": {
    damage: (image) => image.set8(image.u32(image.group(1)) * 1024 + 1023, 0x7f),
  },
  "inode-bitmap-checksum": {
    base: "sums",
    damage: (image) => image.flip(image.u32(image.group(0) + 4) * 1024 + 2),
  },
  "inode-bitmap": { damage: (image) => image.debugfs("freei hub") },
  "inode-bitmap-padding": {
    damage: (image) => image.set8(image.u32(image.group(0) + 4) * 1024 + 1023, 0x7f),
  },
  "inode-checksum": { base: "sums", damage: (image) => image.flip(image.inode("hub") + 0x8) },
  "inode-mode": { damage: (image) => image.debugfs("sif hub mode 0") },
  "inode-flags": { damage: (image) => image.debugfs("sif pipe flags 0x10") },
  "inode-size": { damage: (image) => image.debugfs("sif hub size 5") },
  "inode-blocks": { damage: (image) => image.debugfs("sif hub blocks 3") },
  "inode-field": { damage: (image) => image.debugfs("sif hub faddr 3") },
  "inode-deletion-time": { damage: (image) => image.debugfs("sif hub dtime 3") },
  "inode-reserved": { damage: (image) => image.debugfs("sif <9> mode 040755") },
  "symlink-target": { damage: (image) => image.debugfs("sif short-link size 5") },
  "inline-data": {
    base: "inline",
    damage: (image) => image.set32(image.inode("directory/small") + 128 + 32, 0),
  },
  "extent-header": { damage: (image) => image.set16(image.extentNode("fragmented"), 1) },
  "extent-checksum": {
    base: "sums",
    damage: (image) => image.flip(image.extentNode("fragmented") + 8),
  },
  "extent-order": {
    damage: (image) => image.set32(entry(image.extentLeaf("fragmented"), 3), 0),
  },
  "extent-length": {
    damage: (image) => {
      const leaf = image.extentLeaf("fragmented");
      image.set16(entry(leaf, image.u16(leaf + 2) - 1) + 4, 9);
    },
  },
  "extent-index": {
    damage: (image) => image.set32(entry(image.extentNode("fragmented"), 1), 7),
  },
  "extent-unwritten": {
    damage: (image) => {
      const length = entry(image.inode("small") + CONTENT) + 4;
      image.set16(length, image.u16(length) + 32768);
    },
  },
  "block-pointers": {
    base: "ext3",
    damage: (image) => image.set32(image.u32(image.inode("large") + CONTENT + 4 * 12) * 1024, 1),
  },
  "block-outside": { damage: (image) => image.set32(entry(image.inode("hub") + CONTENT) + 8, 1e6) },
  "block-in-structures": {
    damage: (image) => image.set32(entry(image.inode("hub") + CONTENT) + 8, 2),
  },
  "block-shared": {
    damage: (image) =>
      image.set32(
        entry(image.inode("hub") + CONTENT) + 8,
        image.u32(entry(image.inode("small/file-3") + CONTENT) + 8),
      ),
  },
  "block-unreadable": { damage: (image) => image.truncate(600 * 1024) },
  "map-circle": {
    damage: (image) => {
      const node = image.extentNode("fragmented");
      image.set32(entry(node, 1) + 4, image.u32(entry(node) + 4));
    },
  },
  "attribute-block": { damage: (image) => image.debugfs("sif hub file_acl 100000") },
  "attribute-checksum": {
    base: "sums",
    damage: (image) => image.flip(image.u32(image.inode("small/file-2") + 0x68) * 1024 + 0x14),
  },
  "attribute-entry": {
    damage: (image) =>
      image.set32(image.u32(image.inode("small/file-2") + 0x68) * 1024 + 32 + 8, 5000),
  },
  "attribute-hash": {
    damage: (image) => image.flip(image.u32(image.inode("small/file-2") + 0x68) * 1024 + 32 + 12),
  },
  "attribute-references": {
    damage: (image) => image.set32(image.u32(image.inode("small/file-2") + 0x68) * 1024 + 4, 7),
  },
  "attribute-inode": {
    base: "values",
    damage: (image) => {
      const held = /in inode (\d+)|inode <?(\d+)>?/.exec(image.ask("ea_list large")) ?? [];
      const ino = Number(held[1] ?? held[2] ?? valueInode(image));
      image.debugfs(`sif <${ino}> flags 0x80000`);
    },
  },
  "directory-hole": { damage: (image) => image.debugfs("punch medium 2 2") },
  "directory-checksum": {
    base: "sums",
    damage: (image) => image.flip(image.block("small") + 1023),
  },
  "directory-record": {
    damage: (image) => image.set16(image.record("small", "file-1") + 4, 6),
  },
  "directory-dots": { damage: (image) => image.set8(image.block("small") + 8, 0x61) },
  "entry-name": { damage: (image) => image.set8(image.record("small", "file-1") + 8, 0x2f) },
  "entry-inode": { damage: (image) => image.set32(image.record("small", "file-1"), 8) },
  "entry-unused": { damage: (image) => image.debugfs("clri small/file-1") },
  "entry-type": { damage: (image) => image.set8(image.record("small", "file-1") + 7, 2) },
  "entry-duplicate": {
    damage: (image) => image.set8(image.record("small", "file-1") + 8 + 5, 0x32),
  },
  "directory-names": { damage: (image) => image.debugfs("ln deep/er second") },
  "index-root": { damage: (image) => image.set8(image.block("large") + 28, 9) },
  "index-checksum": { base: "sums", damage: (image) => image.flip(image.block("large") + 36) },
  "index-node": { damage: (image) => image.set16(image.block("large") + 34, 0) },
  "index-block": { damage: (image) => image.set32(image.block("large") + 44, 100_000) },
  "entry-hash": {
    damage: (image) => {
      for (let index = 1; ; index++) {
        const start = image.block("large", index);
        if (image.u32(start) === 0) continue;
        image.set8(start + 8 + 20, 0x5a);
        return;
      }
    },
  },
  "root-missing": { damage: (image) => image.debugfs("sif / mode 0100644") },
  "directory-unconnected": { damage: (image) => image.debugfs("unlink deep/er") },
  "directory-parent": {
    damage: (image) => image.set32(image.block("deep/er") + 12, image.inoOf("small")),
  },
  "link-count": { damage: (image) => image.debugfs("sif hub links_count 3") },
  "inode-unnamed": { damage: (image) => image.debugfs("unlink small/file-1") },
  "quota-file": {
    base: "quotas",
    damage: (image) => image.set32(image.block("<3>", 1), 1000),
  },
  "quota-usage": {
    base: "quotas",
    damage: (image) => image.set32(image.block("<4>", 5) + 16 + 48, 1024),
  },
  "orphan-list": {
    damage: (image) => image.debugfs("ssv last_orphan 400"),
    unknownToE2fsck: "with -n it does not look at the list of orphans",
  },
  "orphan-inode": {
    damage: (image) => {
      const ino = image.inoOf("small/file-1");
      image.debugfs(
        "sif small/file-1 links_count 0",
        "unlink small/file-1",
        `ssv last_orphan ${ino}`,
      );
    },
  },
  "orphan-file": {
    base: "orphan-file",
    damage: (image) => image.set32(image.block(`<${image.u32(SUPERBLOCK + 0x280)}>`), 12),
  },
  "journal-inode": { damage: (image) => image.debugfs("clri <8>") },
  "journal-log": {
    damage: (image) => {
      image.set32(image.block("<8>") + 0x1c, 0xffffffff);
      image.debugfs("feature needs_recovery");
    },
    unknownToE2fsck: "with -n it does not look into a journal that waits to be replayed",
  },
  "journal-superblock": { damage: (image) => image.set32(image.block("<8>"), 0) },
};

/** An inode that is marked to hold the value of an attribute. */
function valueInode(image: DamagedImage): number {
  for (let ino = 11; ino < 200; ino++) {
    if ((image.u32(image.inode(`<${ino}>`) + 0x20) & 0x200000) !== 0) return ino;
  }
  throw new Error("no inode holds a value");
}

describe("each finding", () => {
  test.each(Object.keys(CASES) as FindingCode[])("%s", (code) => {
    expect(code in FINDING_CODES).toBe(true);
  });

  for (const [code, { base, damage, unknownToE2fsck }] of Object.entries<Case>(CASES)) {
    skipUnless(
      "debugfs",
      "e2fsck",
      "mkfs.ext4",
    )(`${code} is found, and e2fsck finds something`, () => {
      using image = new DamagedImage(base ?? "plain");
      damage(image);
      const report = fsckSync(image.path);
      expect(codesOf(report), shown(report.findings.slice(0, 20))).toContain(code);
      const { verdict, said } = e2fsckVerdict(image.path);
      if (unknownToE2fsck === undefined) expect(verdict, said).not.toBe("clean");
      else expect(verdict, said).toBe("clean");
    });
  }
});
