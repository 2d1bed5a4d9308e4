/**
 * Where a directory that lies in its inode has its names: first the number of its parent, four bytes, instead of
 * records for "." and "..", then records to the end of the content's place, and more records in the rest.
 *
 * Source: Linux Documentation/filesystems/ext4/inlinedata.rst, "Inline Directories".
 */
import { CorruptionError } from "../../../base/errors.ts";
import type { Ino } from "../../../base/quantities.ts";
import { CONTENT_BYTE, CONTENT_SIZE, INCOMPATIBLE } from "../format.ts";
import { contentRest } from "../maps/inline-data.ts";
import type { RawInode } from "../inodes/inode.ts";
import { dot, dotDot, type NameFormat, recordLengthFor } from "./names.ts";
import type { ExtVolume } from "../volume.ts";

const PARENT_SIZE = 4;
/** The records for "." and "..", which a directory of blocks begins with. */
export const DOTS_SIZE = recordLengthFor(dot.length) + recordLengthFor(dotDot.length);

/** A chain of records in the inode's block. */
export interface InlineArea extends NameFormat {
  /** Where it would begin in a directory of one block; there it comes to lie. */
  readonly base: number;
}

/** The areas of the directory inode `raw`: one or two. Throws: CorruptionError. */
export function inlineAreas(volume: ExtVolume, raw: RawInode): InlineArea[] {
  const { blockSize, facts, features } = volume;
  const hasTypes = (features.incompatible & INCOMPATIBLE.filetype) !== 0;
  const format = { blockSize, hasTypes, inoMax: facts.inodes };
  const start = raw.at + CONTENT_BYTE;
  const end = start + CONTENT_SIZE;
  const first = { ...format, entriesStart: start + PARENT_SIZE, entriesEnd: end, base: DOTS_SIZE };
  const { at, size } = contentRest(volume, raw);
  if (size === 0) return [first];
  const base = DOTS_SIZE + CONTENT_SIZE - PARENT_SIZE;
  return [first, { ...format, entriesStart: at, entriesEnd: at + size, base }];
}

/** The parent of a directory that lies in its inode. Throws: CorruptionError. */
export function inlineParent(volume: ExtVolume, { block, at }: RawInode): Ino {
  const parent = block.view.getUint32(at + CONTENT_BYTE, true);
  if (parent >= 1 && parent <= volume.facts.inodes) return parent as Ino;
  throw new CorruptionError({
    structure: "ext4 inline directory",
    field: "parent inode",
    value: parent,
    expected: `expected 1 to ${volume.facts.inodes}`,
    deviceByte: volume.byteOf(block.block, at + CONTENT_BYTE),
  });
}

/** `raw` is being edited. */
export function setInlineParent({ block, at }: RawInode, parent: Ino): void {
  block.view.setUint32(at + CONTENT_BYTE, parent, true);
}
