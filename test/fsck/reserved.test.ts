// Inodes that are the volume's own, each field changed by itself: our check and e2fsck -fn agree whether the volume is
// clean. Of such inodes most fields mean nothing, and some mean another thing than in a file's inode.

import { describe, expect } from "vitest";
import { skipUnless } from "../support/tools.ts";
import { differencesMet, disagreement } from "./agreement.ts";
import { type Base, DamagedImage } from "./images.ts";
import { referee } from "./referee.ts";

/** By name: where it lies in an inode, how many bytes, and what it becomes. */
const FIELDS: readonly (readonly [string, number, 2 | 4, readonly number[]])[] = [
  ["i_mode", 0x0, 2, [0x8180, 0x41c0, 0x1000]],
  ["i_size_lo", 0x4, 4, [0, 5000, 2 ** 20]],
  ["i_dtime", 0x14, 4, [5, 1_700_000_000]],
  ["i_links_count", 0x1a, 2, [0, 1, 2]],
  ["i_blocks_lo", 0x1c, 4, [0, 2]],
  ["i_flags", 0x20, 4, [0x10, 0x800, 0x1000, 0x80000, 0x200000, 0x10000000]],
  ["i_block[0]", 0x28, 4, [0, 900, 99_999_999]],
  ["i_block[13]", 0x5c, 4, [900]],
  ["i_file_acl_lo", 0x68, 4, [900, 99_999_999]],
  ["i_faddr", 0x70, 4, [7]],
  ["i_blocks_hi", 0x74, 2, [1]],
  ["i_file_acl_hi", 0x76, 2, [1]],
  ["i_extra_isize", 0x80, 2, [3, 28, 200]],
];

describe.each<[Base, readonly number[]]>([
  // Bad blocks, quotas that are not kept, boot loader, undelete, resize, no journal; and the value of an attribute.
  ["values", [1, 3, 5, 6, 7, 8, 15]],
  ["ext3", [1, 5, 7, 8]],
  ["orphan-file", [8, 9, 12]],
  ["quotas", [3, 4, 12]],
])("%s, inodes %s", (base, inos) => {
  skipUnless("mke2fs", "debugfs", "e2fsck")(
    "each changed field is wrong to both or to neither",
    () => {
      using image = new DamagedImage(base);
      const differences = new Map<string, number>();
      const wrong: string[] = [];
      let count = 0;
      for (const ino of inos) {
        const at = image.inode(`<${ino}>`);
        for (const [name, offset, size, values] of FIELDS) {
          const old = image.read(at + offset, size);
          for (const value of values) {
            const bytes = Buffer.alloc(size);
            bytes.writeUIntLE(value, 0, size);
            image.write(at + offset, bytes);
            const problem = disagreement(referee(image.path), differences);
            image.write(at + offset, old);
            if (problem !== null) wrong.push(`inode ${ino}, ${name} is ${value}\n${problem}`);
            count++;
          }
        }
      }
      process.stdout.write(
        `${count} fields of the inodes ${inos} changed, ${base}\n${differencesMet(differences)}`,
      );
      expect(wrong.join("\n\n")).toBe("");
    },
    600_000,
  );
});
