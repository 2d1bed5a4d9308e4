/** What a superblock and the group descriptors say, for people: as dumpe2fs tells it. */
import {
  DiskSuperblock,
  getPair,
  INCOMPATIBLE,
  READ_ONLY,
  STATE_CLEAN,
  STATE_ERRORS,
} from "./format.ts";
import { FEATURES } from "./mkfs/features.ts";
import {
  blocksInGroup,
  firstBlockOfGroup,
  getGroup,
  groupFlags,
  readGroup,
} from "./space/groups.ts";
import { type Features, textOf, viewOf } from "./superblock.ts";
import type { ExtVolume } from "./volume.ts";

/** What only the superblock on the device tells. Times are seconds since 1970; 0: never. */
export interface SuperblockText {
  /** By mke2fs's names, those without one as numbers. */
  readonly features: readonly string[];
  readonly isClean: boolean;
  /** The kernel, or a checker, has met errors. */
  readonly hasErrors: boolean;
  /** The journal holds what has not reached the rest of the volume. */
  readonly needsRecovery: boolean;
  readonly made: number;
  readonly mounted: number;
  readonly written: number;
  readonly checked: number;
  readonly mountCount: number;
  readonly lastMountedPath: string;
}

export interface GroupText {
  readonly group: number;
  readonly firstBlock: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly freeInodes: number;
  readonly directories: number;
  readonly blockBitmap: number;
  readonly inodeBitmap: number;
  readonly inodeTable: number;
  /** Bitmaps that were never written, tables that were zeroed. */
  readonly flags: readonly string[];
}

const WORDS = ["compatible", "incompatible", "readOnly"] as const;
const FLAGS = ["INODE_UNINIT", "BLOCK_UNINIT", "ITABLE_ZEROED"] as const;

/** By mke2fs's names, in the order of their bits. */
export function featureNames(features: Features): string[] {
  const known = new Map<string, string>();
  for (const [name, bit] of Object.entries(INCOMPATIBLE)) known.set(`incompatible ${bit}`, name);
  for (const [name, bit] of Object.entries(READ_ONLY)) known.set(`readOnly ${bit}`, name);
  for (const [name, [word, bit]] of Object.entries(FEATURES)) known.set(`${word} ${bit}`, name);
  return WORDS.flatMap((word) => {
    const bits = Array.from({ length: 32 }, (_, shift) => 2 ** shift);
    return bits
      .filter((bit) => Math.floor(features[word] / bit) % 2 === 1)
      .map((bit) => known.get(`${word} ${bit}`) ?? `${word}-0x${bit.toString(16)}`);
  });
}

/** `superblock`: its 1,024 bytes. */
export function describeSuperblock(superblock: Uint8Array): SuperblockText {
  const view = viewOf(superblock);
  const disk = DiskSuperblock;
  const features = {
    compatible: disk.featuresCompatible.get(view, 0),
    incompatible: disk.featuresIncompatible.get(view, 0),
    readOnly: disk.featuresReadOnly.get(view, 0),
  };
  const state = disk.state.get(view, 0);
  const { offset, size } = disk.lastMountedPath;
  return {
    features: featureNames(features),
    isClean: (state & STATE_CLEAN) !== 0,
    hasErrors: (state & STATE_ERRORS) !== 0,
    needsRecovery: (features.incompatible & INCOMPATIBLE.needs_recovery) !== 0,
    made: getPair(view, 0, disk.makeTimeLow, disk.makeTimeHigh),
    mounted: getPair(view, 0, disk.mountTimeLow, disk.mountTimeHigh),
    written: getPair(view, 0, disk.writeTimeLow, disk.writeTimeHigh),
    checked: getPair(view, 0, disk.lastCheckLow, disk.lastCheckHigh),
    mountCount: disk.mountCount.get(view, 0),
    lastMountedPath: textOf(superblock, offset, size),
  };
}

/** All groups, one after the other. Throws: CorruptionError. */
export function* describeGroups(volume: ExtVolume): Generator<GroupText> {
  for (let group = 0; group < volume.facts.groups; group++) {
    const at = readGroup(volume, group);
    const bits = groupFlags(volume, at);
    yield {
      group,
      firstBlock: firstBlockOfGroup(volume, group),
      blocks: blocksInGroup(volume, group),
      freeBlocks: getGroup(volume, at, "freeBlocks"),
      freeInodes: getGroup(volume, at, "freeInodes"),
      directories: getGroup(volume, at, "directories"),
      blockBitmap: getGroup(volume, at, "blockBitmap"),
      inodeBitmap: getGroup(volume, at, "inodeBitmap"),
      inodeTable: getGroup(volume, at, "inodeTable"),
      flags: FLAGS.filter((_, shift) => (bits & (1 << shift)) !== 0),
    };
  }
}
