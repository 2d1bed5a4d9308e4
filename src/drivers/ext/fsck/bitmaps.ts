/** The check's last pass: bitmaps and counts, against the owners that the others have seen. */
import { findClear, findSet } from "../space/bitmaps.ts";
import {
  DiskGroup,
  DiskSuperblock,
  getPair,
  GROUP_BLOCK_UNINIT,
  INCOMPATIBLE,
  SUPERBLOCK_BYTE,
} from "../format.ts";
import { readBlockBitmap, readInodeBitmap } from "../space/group-bitmaps.ts";
import { blocksInGroup, firstBlockOfGroup, getGroup, readGroup } from "../space/groups.ts";
import { TYPE_DIRECTORY } from "./census.ts";
import type { Check, Steps } from "./check.ts";
import type { FindingCode } from "./findings.ts";

/** Runs of numbers that a message names; of more it says how many. */
const RUNS_SHOWN_MAX = 4;

export function* checkBitmaps(check: Check): Steps {
  const { groups } = check;
  let [freeClusters, freeInodes] = [0, 0];
  let isWhole = true;
  for (let group = 0; group < groups.length; group++) {
    if (group % 16 === 0) yield { pass: "bitmaps", done: group, total: groups.length };
    check.about = { group };
    freeClusters += checkBlocks(check, group);
    if (groups[group]!.inodeTable === null) isWhole = false;
    else freeInodes += checkInodes(check, group);
  }
  check.about = {};
  // Of a volume in use the totals are old: who mounts it counts the groups'.
  if (isWhole && !check.isReplayed) checkTotals(check, freeClusters, freeInodes);
}

function countClear(words: Uint32Array, count: number): number {
  let clear = 0;
  for (let at = findClear(words, 0, count); at < count; ) {
    const end = findSet(words, at, count);
    clear += end - at;
    at = findClear(words, end, count);
  }
  return clear;
}

/** Returns the free clusters of the group. */
function checkBlocks(check: Check, group: number): number {
  const { volume, census } = check;
  const { clusterBlocks } = volume.facts;
  const { hasBlockBitmap, flags } = check.groups[group]!;
  const clusters = Math.ceil(blocksInGroup(volume, group) / clusterBlocks);
  const owned = census.blocks.words(group);
  const isUnwritten = (flags & GROUP_BLOCK_UNINIT) !== 0;
  if (hasBlockBitmap && !(isUnwritten && clusterBlocks > 1)) {
    const words = check.attempt(() => readBlockBitmap(volume, group));
    if (words !== null) {
      const first = firstBlockOfGroup(volume, group);
      compare(check, group, words, owned, clusters, {
        code: "block-bitmap",
        what: "block",
        numberOf: (bit) => first + bit * clusterBlocks,
      });
      if (!isUnwritten) checkPadding(check, group, words, clusters, "block-bitmap-padding");
    }
  }
  const free = countClear(owned, clusters);
  checkCount(check, group, "freeBlocks", "bg_free_blocks_count", free, "group-free-blocks");
  return free;
}

/** Returns the free inodes of the group. */
function checkInodes(check: Check, group: number): number {
  const { volume, census } = check;
  const { inodesPerGroup } = volume.facts;
  const first = group * inodesPerGroup + 1;
  const used = new Uint32Array(Math.ceil(inodesPerGroup / 32));
  let directories = 0;
  if (census.types.hasGroup(group)) {
    for (let slot = 0; slot < inodesPerGroup; slot++) {
      if (census.types.get(first + slot) === 0) continue;
      used[slot >>> 5] = used[slot >>> 5]! | (1 << (slot & 31));
      if (census.typeOf(first + slot) === TYPE_DIRECTORY) directories++;
    }
  }
  if (check.groups[group]!.hasInodeBitmap) {
    const words = check.attempt(() => readInodeBitmap(volume, group));
    if (words !== null) {
      compare(check, group, words, used, inodesPerGroup, {
        code: "inode-bitmap",
        what: "inode",
        numberOf: (bit) => first + bit,
      });
      checkPadding(check, group, words, inodesPerGroup, "inode-bitmap-padding");
    }
  }
  const free = countClear(used, inodesPerGroup);
  checkCount(check, group, "freeInodes", "bg_free_inodes_count", free, "group-free-inodes");
  checkCount(check, group, "directories", "bg_used_dirs_count", directories, "group-directories");
  return free;
}

interface Compared {
  readonly code: FindingCode;
  readonly what: "block" | "inode";
  numberOf(bit: number): number;
}

/** Tells of the first `count` bits that differ: those marked wrongly, and those not marked. */
function compare(
  check: Check,
  group: number,
  marked: Uint32Array,
  used: Uint32Array,
  count: number,
  { code, what, numberOf }: Compared,
): void {
  const tell = (differs: (marked: number, used: number) => number, how: string) => {
    const bits = used.map((word, index) => differs(marked[index]!, word));
    const runs: [from: number, end: number][] = [];
    for (let at = findSet(bits, 0, count); at < count; ) {
      const end = findClear(bits, at, count);
      runs.push([at, end]);
      at = findSet(bits, end, count);
    }
    if (runs.length === 0) return;
    const total = runs.reduce((sum, [from, end]) => sum + end - from, 0);
    const shown = runs
      .slice(0, RUNS_SHOWN_MAX)
      .map(([from, end]) =>
        end - from === 1 ? `${numberOf(from)}` : `${numberOf(from)} to ${numberOf(end - 1)}`,
      );
    const more = runs.length > RUNS_SHOWN_MAX ? ` and others, ${total} in all` : "";
    const first = numberOf(runs[0]![0]);
    check.tell(code, {
      structure: `${what} bitmap`,
      group,
      ...(what === "block" ? { block: first } : { ino: first }),
      field: how,
      value: total,
      expected: 0,
      text: `group ${group}: ${total === 1 ? what : `${what}s`} ${shown.join(", ")}${more} ${total === 1 ? "is" : "are"} ${how}`,
    });
  };
  tell((marking, use) => use & ~marking, "in use, but marked free");
  tell((marking, use) => marking & ~use, "marked in use, but nobody's");
}

/** Bits behind the last that means something are set, to the end of the block. */
function checkPadding(
  check: Check,
  group: number,
  words: Uint32Array,
  count: number,
  code: FindingCode,
): void {
  const end = words.length * 32;
  const clear = findClear(words, count, end);
  if (clear >= end) return;
  check.tell(code, {
    structure: code.startsWith("block") ? "block bitmap" : "inode bitmap",
    group,
    field: "padding",
    value: clear,
    text: `group ${group}: bit ${clear} of its ${code.startsWith("block") ? "block" : "inode"} bitmap, behind the last of ${count}, is clear`,
  });
}

function checkCount(
  check: Check,
  group: number,
  name: "freeBlocks" | "freeInodes" | "directories",
  field: string,
  right: number,
  code: FindingCode,
): void {
  const { volume } = check;
  const descriptor = check.attempt(() => readGroup(volume, group));
  if (descriptor === null) return;
  const said = getGroup(volume, descriptor, name);
  if (said === right) return;
  check.tell(code, {
    structure: DiskGroup.structure.name,
    group,
    field,
    value: said,
    expected: right,
    deviceByte: volume.byteOf(descriptor.block.block, descriptor.at),
    text: `group ${group}: ${field} is ${said}, expected ${right}`,
  });
}

function checkTotals(
  { superblock: view, volume, findings }: Check,
  clusters: number,
  inodes: number,
) {
  const { freeBlocksCountLow, freeBlocksCountHigh, freeInodesCount, structure } = DiskSuperblock;
  const isWide = (volume.features.incompatible & INCOMPATIBLE["64bit"]) !== 0;
  const saidBlocks = isWide
    ? getPair(view, 0, freeBlocksCountLow, freeBlocksCountHigh)
    : freeBlocksCountLow.get(view, 0);
  const tell = (code: FindingCode, field: string, value: number, expected: number) =>
    findings.add(code, {
      structure: structure.name,
      field,
      value,
      expected,
      deviceByte: SUPERBLOCK_BYTE,
      text: `superblock: ${field} is ${value}, expected ${expected}`,
    });
  // In blocks, while the groups count clusters.
  const blocks = clusters * volume.facts.clusterBlocks;
  if (saidBlocks !== blocks) {
    tell("superblock-free-blocks", "s_free_blocks_count", saidBlocks, blocks);
  }
  const saidInodes = freeInodesCount.get(view, 0);
  if (saidInodes !== inodes) {
    tell("superblock-free-inodes", "s_free_inodes_count", saidInodes, inodes);
  }
}
