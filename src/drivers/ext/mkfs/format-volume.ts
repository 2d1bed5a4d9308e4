/**
 * Writes a new volume, superblock last: until then nothing takes the device for one.
 *
 * What must be written depends on what was there. A blank target (a sparse file) holds zeroes already. On
 * another, groups whose descriptors have checksums leave their inode tables as they are, and their
 * descriptors say so: nobody reads a table behind its `unusedInodes`, and a kernel that mounts the volume
 * zeroes it in the background. Without checksums the tables are zeroed now; and the journal is in any case,
 * for what an older one left there could be taken for transactions to replay.
 */
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import {
  INO_BAD_BLOCKS,
  INO_JOURNAL,
  INO_RESIZE,
  INO_ROOT,
  INODE_EXTENTS,
  INODE_IMMUTABLE,
  MODE_DIRECTORY,
  MODE_FILE,
  SUPERBLOCK_BYTE,
} from "../format.ts";
import { QUOTA_KINDS, type Usage } from "../quotas/quota-file.ts";
import { firstBlockOfGroup, hasDescriptors, hasSuperblock } from "../space/groups.ts";
import { blocksOf, type FileContent, makeContent } from "./content.ts";
import { directoryBlocks, LOST_AND_FOUND, lostAndFoundBlocks } from "./directories.ts";
import { GroupImages } from "./group-images.ts";
import {
  FIRST_INO,
  hiddenInosOf,
  orphanFileBlocks,
  QUOTA_FILE_BYTES,
  quotaFileBlocks,
  quotaFileOrder,
} from "./hidden-files.ts";
import type { FormatTarget } from "./images.ts";
import { encodeBadBlocks, encodeInode, encodeUnused } from "./inodes.ts";
import { journalGoal, journalSuperblock } from "./journal.ts";
import { Layout } from "./layout.ts";
import type { Recipe } from "./recipe.ts";
import { makeResizeInode } from "./resize-inode.ts";
import { encodeSuperblock, type VolumeTotals } from "./superblock-image.ts";

const INO_LOST_AND_FOUND = FIRST_INO;
const ROOT_MODE = 0o755;
const LOST_AND_FOUND_MODE = 0o700;
const RESERVED_FILE_MODE = 0o600;
/** Groups between two reports of progress. */
const GROUPS_PER_STEP = 256;

/** How far the writing is, in groups, with the copies of the descriptors as so many more. */
export interface FormatProgress {
  readonly done: number;
  readonly total: number;
}

/** The files of a new volume, their blocks taken. */
interface Files {
  readonly inodes: ReadonlyMap<number, Uint8Array>;
  readonly blocks: readonly MetadataBlock[];
  readonly journal: FileContent | null;
}

/** A volume of which every block has its place, and nothing is written yet. */
export interface LaidOut {
  readonly recipe: Recipe;
  readonly layout: Layout;
  readonly files: Files;
}

/** Throws: ENOSPC when the volume's own structures do not fit. */
export function layOutVolume(recipe: Recipe): LaidOut {
  const layout = new Layout(recipe.geometry);
  return { recipe, layout, files: makeFiles(recipe, layout) };
}

/** The superblock that a volume will have, but for what is free: it says who will mount the volume. */
export function previewSuperblock({ recipe, layout, files }: LaidOut): Uint8Array {
  return encodeSuperblock(recipe, totalsOf(recipe, layout, 0, files), 0);
}

/**
 * Writes the volume; between its steps it tells how far it is, and may be left. A target left before the
 * end holds no volume. Throws: what the target throws.
 */
export function* formatVolume(
  { recipe, layout, files }: LaidOut,
  target: FormatTarget,
): Generator<FormatProgress, void> {
  const { geometry } = recipe;
  const { blockSize, groups } = geometry;
  const put = ({ block, bytes }: MetadataBlock): void => target.write(block * blockSize, bytes);
  const lastIno = hiddenInosOf(recipe).last;
  const images = new GroupImages(recipe, layout, target.isBlank || !recipe.groupChecksums);
  for (let group = 0; group < groups; group++) {
    const use = group === 0 ? { inodes: lastIno, directories: 2 } : { inodes: 0, directories: 0 };
    for (const bitmap of images.describe(group, use)) put(bitmap);
    if (!target.isBlank && !recipe.groupChecksums) {
      target.zero(layout.inodeTables[group]! * blockSize, geometry.tableBlocks * blockSize);
    }
    if (group % GROUPS_PER_STEP === GROUPS_PER_STEP - 1)
      yield { done: group + 1, total: 2 * groups };
  }
  yield { done: groups, total: 2 * groups };
  writeFirstInodes(recipe, target, layout, files.inodes);
  if (files.journal !== null && !target.isBlank) {
    for (const { start, count } of files.journal.data) {
      target.zero(start * blockSize, count * blockSize);
      yield { done: groups, total: 2 * groups };
    }
  }
  for (const block of files.blocks) put(block);
  yield* writeDescriptors(
    recipe,
    target,
    images,
    totalsOf(recipe, layout, images.freeBlocks, files),
  );
}

/** Takes the blocks of the volume's own files, in mke2fs's order, and makes what they hold. */
function makeFiles(recipe: Recipe, layout: Layout): Files {
  const { blockSize, firstDataBlock } = recipe.geometry;
  const inodes = new Map<number, Uint8Array>();
  const blocks: MetadataBlock[] = [];
  const extents = recipe.features.has("extent") ? INODE_EXTENTS : 0;
  const addInode = (
    ino: number,
    mode: number,
    linkCount: number,
    content: FileContent,
    wasInline = false,
  ) => {
    const size = content.data.reduce((sum, { count }) => sum + count, 0) * blockSize;
    const inode = { mode, linkCount, size, blocks: blocksOf(content), flags: extents, wasInline };
    inodes.set(ino, encodeInode(recipe, ino, { ...inode, content: content.content }));
    blocks.push(...content.index);
  };
  for (let ino = 1; ino < FIRST_INO; ino++) inodes.set(ino, encodeUnused(recipe, ino));
  inodes.set(INO_BAD_BLOCKS, encodeBadBlocks(recipe, INO_BAD_BLOCKS));
  const at = { goal: firstDataBlock, what: "the first directories" };
  const root = makeContent(recipe, layout, { ino: INO_ROOT, count: 1, ...at });
  addInode(INO_ROOT, MODE_DIRECTORY | ROOT_MODE, 3, root);
  const lost = makeContent(recipe, layout, {
    ino: INO_LOST_AND_FOUND,
    count: lostAndFoundBlocks(recipe),
    ...at,
  });
  const wasInline = recipe.features.has("inline_data");
  addInode(INO_LOST_AND_FOUND, MODE_DIRECTORY | LOST_AND_FOUND_MODE, 2, lost, wasInline);
  const [rootIno, lostIno] = [INO_ROOT as Ino, INO_LOST_AND_FOUND as Ino];
  blocks.push(
    ...directoryBlocks(recipe, root, { ino: rootIno, parent: rootIno }, [
      [LOST_AND_FOUND, lostIno],
    ]),
    ...directoryBlocks(recipe, lost, { ino: lostIno, parent: rootIno }, []),
  );
  if (recipe.features.has("resize_inode")) {
    const { index, ...inode } = makeResizeInode(recipe, layout);
    const mode = MODE_FILE | RESERVED_FILE_MODE;
    inodes.set(
      INO_RESIZE,
      encodeInode(recipe, INO_RESIZE, { mode, linkCount: 1, flags: 0, ...inode }),
    );
    blocks.push(...index);
  }
  let journal: FileContent | null = null;
  if (recipe.journalBlocks > 0) {
    journal = makeContent(recipe, layout, {
      ino: INO_JOURNAL,
      count: recipe.journalBlocks,
      goal: journalGoal(recipe, layout),
      what: "the journal",
    });
    addInode(INO_JOURNAL, MODE_FILE | RESERVED_FILE_MODE, 1, journal);
    blocks.push(journalSuperblock(recipe, journal.data[0]!.start));
  }
  const space = (blocksOf(root) + blocksOf(lost)) * blockSize;
  makeHiddenFiles(recipe, layout, { space, inodes: 2 }, { inodes, blocks });
  return { inodes, blocks, journal };
}

/** Adds the quota files, which count `usage` for root, and the orphan file. */
function makeHiddenFiles(
  recipe: Recipe,
  layout: Layout,
  usage: Usage,
  { inodes, blocks }: { inodes: Map<number, Uint8Array>; blocks: MetadataBlock[] },
): void {
  const { blockSize, firstDataBlock } = recipe.geometry;
  const { quotas, orphanFile } = hiddenInosOf(recipe);
  const extents = recipe.features.has("extent") ? INODE_EXTENTS : 0;
  const mode = MODE_FILE | RESERVED_FILE_MODE;
  const add = (ino: number, size: number, flags: number, content: FileContent): void => {
    const inode = { mode, linkCount: 1, size, blocks: blocksOf(content), flags: extents | flags };
    inodes.set(ino, encodeInode(recipe, ino, { ...inode, content: content.content }));
    blocks.push(...content.index);
  };
  for (const [index, kind] of QUOTA_KINDS.entries()) {
    const ino = quotas[index]!;
    if (ino === 0) continue;
    const order = quotaFileOrder(blockSize);
    const what = "the quota files";
    const wish = { ino, count: order.length, goal: firstDataBlock, what, order };
    const content = makeContent(recipe, layout, wish);
    add(ino, QUOTA_FILE_BYTES, INODE_IMMUTABLE, content);
    blocks.push(...quotaFileBlocks(recipe, kind, usage, content));
  }
  if (orphanFile === 0) return;
  const count = recipe.orphanFileBlocks;
  const wish = { ino: orphanFile, count, goal: firstDataBlock, what: "the orphan file" };
  const content = makeContent(recipe, layout, wish);
  add(orphanFile, count * blockSize, 0, content);
  blocks.push(...orphanFileBlocks(recipe, orphanFile, content));
}

/** Writes the blocks of the first group's inode table in which inodes are in use. */
function writeFirstInodes(
  recipe: Recipe,
  target: FormatTarget,
  layout: Layout,
  inodes: ReadonlyMap<number, Uint8Array>,
): void {
  const { blockSize, inodeSize } = recipe.geometry;
  const last = Math.max(...inodes.keys());
  const bytes = new Uint8Array(Math.ceil((last * inodeSize) / blockSize) * blockSize);
  for (const [ino, inode] of inodes) bytes.set(inode, (ino - 1) * inodeSize);
  target.write(layout.inodeTables[0]! * blockSize, bytes);
}

function totalsOf(
  recipe: Recipe,
  layout: Layout,
  freeBlocks: number,
  { journal }: Files,
): VolumeTotals {
  const { geometry, journalBlocks } = recipe;
  return {
    freeBlocks,
    freeInodes: geometry.inodes - hiddenInosOf(recipe).last,
    overheadBlocks: geometry.firstDataBlock + layout.structureBlocks + journalBlocks,
    journal:
      journal === null
        ? null
        : { content: journal.content, size: journalBlocks * geometry.blockSize },
  };
}

/** Writes all copies of descriptors and superblock, the first superblock last. */
function* writeDescriptors(
  recipe: Recipe,
  target: FormatTarget,
  { descriptors }: GroupImages,
  totals: VolumeTotals,
): Generator<FormatProgress, void> {
  const { geometry } = recipe;
  const { blockSize, groups, descriptorsPerBlock } = geometry;
  const facts = { facts: geometry };
  for (let group = groups - 1; group >= 0; group--) {
    const isSuper = hasSuperblock(facts, group);
    const first = firstBlockOfGroup(facts, group);
    if (hasDescriptors(facts, group)) {
      const at = (first + (isSuper ? 1 : 0)) * blockSize;
      if (!recipe.features.has("meta_bg")) target.write(at, descriptors);
      else {
        const own = Math.floor(group / descriptorsPerBlock) * blockSize;
        target.write(at, descriptors.subarray(own, own + blockSize));
      }
    }
    if (isSuper && group > 0) {
      target.write(first * blockSize, encodeSuperblock(recipe, totals, group));
    }
    if (isSuper || group % GROUPS_PER_STEP === 0)
      yield { done: 2 * groups - group, total: 2 * groups };
  }
  target.write(SUPERBLOCK_BYTE, encodeSuperblock(recipe, totals, 0));
}
