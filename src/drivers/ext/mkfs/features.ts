/**
 * The features of ext volumes by the names that mke2fs gives them: what each type has, what a list of
 * changes makes of that, and which combinations cannot be.
 */
import { HoldfastError } from "../../../base/errors.ts";
import { COMPATIBLE, INCOMPATIBLE, INODE_SIZE_OLD, READ_ONLY } from "../format.ts";
import type { ExtType, Features } from "../superblock.ts";

type Word = keyof Features;
type FeatureBit = readonly [word: Word, bit: number];

/** Every feature that a volume can be made with. */
export const FEATURES = {
  has_journal: ["compatible", COMPATIBLE.hasJournal],
  ext_attr: ["compatible", COMPATIBLE.extendedAttributes],
  resize_inode: ["compatible", COMPATIBLE.resizeInode],
  dir_index: ["compatible", COMPATIBLE.directoryIndex],
  sparse_super2: ["compatible", COMPATIBLE.sparseSuper2],
  fast_commit: ["compatible", COMPATIBLE.fastCommit],
  stable_inodes: ["compatible", 0x800],
  orphan_file: ["compatible", COMPATIBLE.orphanFile],
  filetype: ["incompatible", INCOMPATIBLE.filetype],
  meta_bg: ["incompatible", INCOMPATIBLE.meta_bg],
  extent: ["incompatible", INCOMPATIBLE.extents],
  "64bit": ["incompatible", INCOMPATIBLE["64bit"]],
  flex_bg: ["incompatible", INCOMPATIBLE.flex_bg],
  ea_inode: ["incompatible", INCOMPATIBLE.ea_inode],
  metadata_csum_seed: ["incompatible", INCOMPATIBLE.metadata_csum_seed],
  large_dir: ["incompatible", INCOMPATIBLE.large_dir],
  inline_data: ["incompatible", INCOMPATIBLE.inline_data],
  sparse_super: ["readOnly", READ_ONLY.sparse_super],
  large_file: ["readOnly", READ_ONLY.large_file],
  huge_file: ["readOnly", READ_ONLY.huge_file],
  uninit_bg: ["readOnly", READ_ONLY.uninit_bg],
  dir_nlink: ["readOnly", READ_ONLY.dir_nlink],
  extra_isize: ["readOnly", READ_ONLY.extra_isize],
  quota: ["readOnly", READ_ONLY.quota],
  metadata_csum: ["readOnly", READ_ONLY.metadata_csum],
  project: ["readOnly", READ_ONLY.project],
  verity: ["readOnly", READ_ONLY.verity],
} as const satisfies Record<string, FeatureBit>;

export type FeatureName = keyof typeof FEATURES;

/** A name that mke2fs takes as well. */
const ALIASES: Readonly<Record<string, FeatureName>> = { extents: "extent" };

/** Features that exist, and of which no volume is made here: each needs structures of its own. */
const NOT_MADE: readonly string[] = [
  "bigalloc",
  "casefold",
  "encrypt",
  "journal_dev",
  "mmp",
  "read-only",
  "shared_blocks",
];

const BASE: readonly FeatureName[] = [
  "sparse_super",
  "large_file",
  "filetype",
  "resize_inode",
  "dir_index",
  "ext_attr",
];

/** What each type has: as /etc/mke2fs.conf of Debian's e2fsprogs 1.47.0 says. */
const OF_TYPE: Readonly<Record<ExtType, readonly FeatureName[]>> = {
  ext2: BASE,
  ext3: [...BASE, "has_journal"],
  ext4: [
    ...BASE,
    "has_journal",
    "extent",
    "huge_file",
    "flex_bg",
    "metadata_csum",
    "64bit",
    "dir_nlink",
    "extra_isize",
  ],
};

/** A set of features, with those that were asked for by name. */
export class FeatureSet {
  readonly #names: Set<FeatureName>;
  /** Asked for by name: these are not dropped in silence where they do not fit. */
  readonly #asked = new Set<FeatureName>();

  /**
   * The features of a type, changed by a list as mke2fs's -O takes it: names, "^name" to leave one out,
   * "none" to begin with none. Throws: EINVAL naming the first that cannot be had.
   */
  constructor(type: ExtType, changes: readonly string[]) {
    this.#names = new Set(OF_TYPE[type]);
    for (const change of changes) this.#apply(change);
  }

  #apply(change: string): void {
    if (change === "none") {
      this.#names.clear();
      return;
    }
    const isCleared = change.startsWith("^");
    const name = featureOf(isCleared ? change.slice(1) : change);
    if (isCleared) {
      this.#names.delete(name);
      this.#asked.delete(name);
    } else {
      this.#names.add(name);
      this.#asked.add(name);
    }
  }

  has(name: FeatureName): boolean {
    return this.#names.has(name);
  }

  /** Leaves a feature out that does not fit. Throws: EINVAL with the reason where it was asked for. */
  drop(name: FeatureName, reason: string): void {
    if (this.#asked.has(name)) throw refused(`feature ${name} cannot be had: ${reason}`);
    this.#names.delete(name);
  }

  add(name: FeatureName): void {
    this.#names.add(name);
  }

  /** In the order of mke2fs's own lists: by word, then by bit. */
  get names(): FeatureName[] {
    return (Object.keys(FEATURES) as FeatureName[]).filter((name) => this.#names.has(name));
  }

  get words(): Features {
    const words = { compatible: 0, incompatible: 0, readOnly: 0 };
    for (const name of this.#names) {
      const [word, bit] = FEATURES[name];
      words[word] = (words[word] | bit) >>> 0;
    }
    return words;
  }

  /**
   * Drops what other features make needless. Throws: EINVAL naming two features that exclude each other,
   * or one that another needs.
   */
  settle(inodeSize: number): void {
    if (this.has("metadata_csum")) this.#names.delete("uninit_bg");
    this.#requires("64bit", "extent");
    this.#requires("metadata_csum_seed", "metadata_csum");
    this.#requires("fast_commit", "has_journal");
    this.#requires("orphan_file", "has_journal");
    if (this.has("resize_inode") && this.has("meta_bg")) {
      this.drop(
        "resize_inode",
        "meta_bg keeps descriptors where they do not grow; add ^resize_inode",
      );
    }
    if (this.has("resize_inode") && !this.has("sparse_super")) {
      throw refused("feature resize_inode needs sparse_super; add ^resize_inode, or sparse_super");
    }
    for (const name of ["project", "inline_data"] as const) {
      if (inodeSize === INODE_SIZE_OLD && this.has(name)) {
        throw refused(`feature ${name} needs inodes larger than ${INODE_SIZE_OLD} bytes`);
      }
    }
  }

  #requires(name: FeatureName, needed: FeatureName): void {
    if (!this.has(name) || this.has(needed)) return;
    throw refused(`feature ${name} needs ${needed}; add ${needed}, or ^${name}`);
  }
}

function featureOf(name: string): FeatureName {
  const known = ALIASES[name] ?? name;
  if (Object.hasOwn(FEATURES, known)) return known as FeatureName;
  if (NOT_MADE.includes(known)) {
    throw refused(`no volume with the feature ${known} can be made here; make it with mke2fs`);
  }
  const names = Object.keys(FEATURES).join(", ");
  throw refused(`'${name}' is not a feature; the names are those of mke2fs: ${names}`);
}

function refused(message: string): HoldfastError {
  return new HoldfastError("EINVAL", message);
}
