/**
 * Findings: what is wrong with a volume, as data. Codes are stable: programs may rely on them.
 * docs/fsck.md lists them.
 */
import type { Damage } from "../../../base/errors.ts";

/** Every code, and what it says in general. */
export const FINDING_CODES = {
  // The superblock and the groups.
  "superblock-unusable": "the superblock cannot be read; a copy of it was used, if there is one",
  "superblock-field": "a field of the superblock cannot be",
  "superblock-checksum": "the superblock's checksum is wrong",
  "superblock-free-blocks": "the superblock's count of free blocks is wrong",
  "superblock-free-inodes": "the superblock's count of free inodes is wrong",
  "device-short": "the volume is larger than its device",
  "group-checksum": "a group descriptor's checksum is wrong",
  "group-field": "a field of a group descriptor cannot be",
  "group-free-blocks": "a group's count of free blocks is wrong",
  "group-free-inodes": "a group's count of free inodes is wrong",
  "group-directories": "a group's count of directories is wrong",
  "structures-overlap": "two structures of the volume lie on the same blocks",
  "resize-inode": "the inode that keeps blocks for more group descriptors is wrong",
  // Bitmaps.
  "block-bitmap-checksum": "a block bitmap's checksum is wrong",
  "block-bitmap": "blocks are in use but marked free, or the other way round",
  "block-bitmap-padding": "bits behind the end of a block bitmap are not set",
  "inode-bitmap-checksum": "an inode bitmap's checksum is wrong",
  "inode-bitmap": "inodes are in use but marked free, or the other way round",
  "inode-bitmap-padding": "bits behind the end of an inode bitmap are not set",
  // Inodes.
  "inode-checksum": "an inode's checksum is wrong",
  "inode-mode": "an inode's type cannot be",
  "inode-flags": "an inode has flags that its type or the volume cannot have",
  "inode-size": "an inode's size does not agree with its blocks or its type",
  "inode-blocks": "an inode's count of blocks is wrong",
  "inode-field": "a field of an inode cannot be",
  "inode-deletion-time": "an inode's time of deletion does not agree with its links",
  "inode-reserved": "a reserved inode is not as it must be",
  "symlink-target": "a symlink's target does not agree with its size",
  "inline-data": "the data kept in an inode is not whole",
  // Maps of blocks.
  "extent-header": "the header of an extent tree's node cannot be",
  "extent-checksum": "the checksum of an extent tree's node is wrong",
  "extent-order": "extents, or the nodes of their tree, are not in order",
  "extent-length": "an extent has no length, or goes on past the next one",
  "extent-index": "an extent tree's index does not agree with the node below",
  "extent-unwritten": "a directory or symlink has blocks that were never written",
  "block-pointers": "a block of pointers names a block that cannot be a file's, or one twice",
  "block-outside": "a map names blocks outside the volume",
  "block-in-structures": "a map names blocks that hold the volume's own structures",
  "block-shared": "blocks belong to two owners",
  "block-unreadable": "a block cannot be read",
  "map-circle": "a map of blocks names one of its own blocks twice",
  "structure-damaged": "a structure is damaged in some other way",
  // Extended attributes.
  "attribute-block":
    "a block of extended attributes lies outside the volume, or has no right header",
  "attribute-checksum": "the checksum of a block of extended attributes is wrong",
  "attribute-entry": "an extended attribute is not whole",
  "attribute-hash": "the hash of an extended attribute is wrong",
  "attribute-references":
    "a block of extended attributes, or an inode with a value, has another number of users than it says",
  "attribute-inode": "an extended attribute's value lies in an inode that is not for that",
  // Directories.
  "directory-hole": "a directory has a hole",
  "directory-checksum": "the checksum of a directory's block is wrong, or missing",
  "directory-record": "a directory's block is not a chain of records",
  "directory-dots": "a directory does not begin with the right '.' and '..'",
  "entry-name": "a name cannot be",
  "entry-inode": "a name stands for an inode number that cannot have names",
  "entry-unused": "a name stands for an inode that is not in use",
  "entry-type": "a name tells another type than its inode",
  "entry-duplicate": "a directory has a name twice",
  "directory-names": "a directory has two names",
  "index-root": "the root of a directory's index cannot be",
  "index-checksum": "the checksum of a directory's index is wrong",
  "index-node": "a node of a directory's index cannot be",
  "index-block": "a directory's index leads to a wrong block, to one twice, or not to all",
  "entry-hash": "a name lies in a block where its hash does not lead",
  // The tree of directories.
  "root-missing": "the root inode is not a directory",
  "directory-unconnected": "a directory cannot be reached from the root",
  "directory-parent": "a directory's '..' does not lead to the directory that names it",
  "link-count": "an inode has another number of names than it says",
  "inode-unnamed": "an inode is in use and has no name",
  // Quotas.
  "quota-file": "a quota file is damaged",
  "quota-usage": "a quota file counts another usage than there is",
  // What waits for the next mount.
  "orphan-list": "the list of orphans is wrong",
  "orphan-inode": "an inode was deleted while it was open and still holds space",
  "orphan-file": "the orphan file is wrong",
  "journal-inode": "the journal's inode is not as it must be",
  "journal-superblock": "the journal's superblock is wrong",
  "journal-log": "the journal waits to be replayed, and is damaged",
} as const satisfies Record<string, string>;

export type FindingCode = keyof typeof FINDING_CODES;

/** Something wrong, and where. What is not known, or does not apply, is null. */
export interface Finding {
  readonly code: FindingCode;
  /** The structure, by its format's own name. */
  readonly structure: string;
  readonly ino: number | null;
  readonly group: number | null;
  /** Filesystem block. */
  readonly block: number | null;
  /** A path that leads to the inode, from the volume's root. */
  readonly path: string | null;
  readonly field: string | null;
  readonly value: number | string | null;
  readonly expected: number | string | null;
  readonly deviceByte: number | null;
  /** All of it in one line. */
  readonly text: string;
}

/** What the check did not look at, or what is to be known of its answer. */
export interface FsckNotice {
  readonly code: string;
  readonly text: string;
}

/** What a finder tells; the rest is null. */
export type Found = Partial<Omit<Finding, "code" | "path" | "text">> & {
  readonly structure: string;
  readonly text?: string;
};

/** Codes of what the driver's own verifiers throw, by structure and field, then by structure. */
const CODE_OF_DAMAGE: Readonly<Record<string, FindingCode>> = {
  "ext4_super_block.s_checksum": "superblock-checksum",
  "ext4_super_block.s_checksum_type": "superblock-checksum",
  ext4_super_block: "superblock-field",
  "ext4_group_desc.bg_checksum": "group-checksum",
  ext4_group_desc: "group-field",
  "block bitmap": "block-bitmap-checksum",
  "inode bitmap": "inode-bitmap-checksum",
  "ext4_inode.i_checksum": "inode-checksum",
  "ext4_inode.i_mode": "inode-mode",
  "ext4_inode.i_size": "inode-size",
  ext4_inode: "inode-field",
  ext4_extent_header: "extent-header",
  ext4_extent_tail: "extent-checksum",
  "ext4_extent.ee_len": "extent-length",
  ext4_extent: "extent-order",
  ext4_extent_idx: "extent-index",
  ext4_dir_entry_tail: "directory-checksum",
  "ext4_dir_entry_2.name": "entry-name",
  "ext4_dir_entry_2.name_len": "entry-name",
  "ext4_dir_entry_2.inode": "entry-inode",
  "ext4_dir_entry_2.file_type": "entry-type",
  ext4_dir_entry_2: "directory-record",
  "dx_node.dt_checksum": "index-checksum",
  ...Object.fromEntries(
    ["dot.inode", "dot.rec_len", "dot.name_len", "dot.name"]
      .concat(["dotdot.rec_len", "dotdot.name_len", "dotdot.name", "reserved_zero"])
      .concat(["info_length", "unused_flags", "hash_version", "indirect_levels"])
      .map((field) => [`dx_node.${field}`, "index-root" as const]),
  ),
  dx_node: "index-node",
  block: "block-in-structures",
  "metadata block": "block-unreadable",
  journal_superblock_s: "journal-superblock",
  "quota tree": "quota-file",
};

function codeOf({ structure, field }: Damage): FindingCode {
  // Of some structures the name says whose they are.
  if (structure.startsWith("indirect block ")) return "block-pointers";
  if (structure.startsWith("block map ")) return "map-circle";
  const known = CODE_OF_DAMAGE[`${structure}.${field}`] ?? CODE_OF_DAMAGE[structure];
  return known ?? "structure-damaged";
}

/** What has been found: each thing once, and of very many the first. */
export class Findings {
  readonly kept: Finding[] = [];
  total = 0;
  readonly notices: FsckNotice[] = [];
  readonly #keptMax: number;
  /** Of each finding its code, place and field. */
  readonly #known = new Set<string>();

  constructor(keptMax: number) {
    this.#keptMax = keptMax;
  }

  add(code: FindingCode, found: Found): void {
    const { ino = null, group = null, block = null, field = null } = found;
    const { value = null, expected = null, deviceByte = null } = found;
    const key = `${code} ${deviceByte ?? `${ino} ${group} ${block}`} ${field} ${value}`;
    if (this.#known.has(key)) return;
    this.total++;
    if (this.kept.length >= this.#keptMax) return;
    this.#known.add(key);
    const { structure } = found;
    const text = found.text ?? `${structure}: ${field} is ${value}, ${expectedText(expected)}`;
    const where = { structure, ino, group, block, path: null, field, value, expected, deviceByte };
    this.kept.push({ code, ...where, text });
  }

  /** What a verifier of the driver threw. `about`: what it does not know. */
  addDamage(damage: Damage, about: Partial<Found>): void {
    const { structure, field, expected, deviceByte } = damage;
    const value = typeof damage.value === "bigint" ? String(damage.value) : damage.value;
    const ofInode = about.ino == null ? "" : `inode ${about.ino}, `;
    const ofGroup = about.group == null ? "" : `group ${about.group}, `;
    const text = `${ofInode}${ofGroup}${structure}: ${field} is ${value}, ${expected}`;
    const found = { ...about, structure, field, value, expected, text };
    this.add(codeOf(damage), deviceByte === undefined ? found : { ...found, deviceByte });
  }

  notice(code: string, text: string): void {
    if (!this.notices.some((notice) => notice.code === code)) this.notices.push({ code, text });
  }
}

function expectedText(expected: number | string | null): string {
  return typeof expected === "number" ? `expected ${expected}` : (expected ?? "which cannot be");
}
