/**
 * Content in the inode itself (the feature inline_data): of a small file, directory or symlink the first 60 bytes lie
 * where others have their map, and the rest is the value of an attribute in the inode, "system.data", which is there even
 * without one and is nobody's to see. New inodes are never made so here; what is so is read as it is, and moved
 * out when it is to be changed (placement.ts), but for names that fit into a directory (directory.ts).
 *
 * Source: Linux Documentation/filesystems/ext4/inlinedata.rst.
 */
import type { Extent } from "../../../iomap/contract.ts";
import { type AttributeArea, placeOfValue } from "../attributes/area.ts";
import { areaOfBody, readBody, writeBody } from "../attributes/body.ts";
import { initializeRoot } from "./extent-nodes.ts";
import {
  CONTENT_BYTE,
  CONTENT_SIZE,
  DiskInode,
  INCOMPATIBLE,
  INODE_EXTENTS,
  INODE_INLINE_DATA,
} from "../format.ts";
import { inodeFlags, inodeSize, type RawInode, setInodeFlags } from "../inodes/inode.ts";
import type { ExtVolume } from "../volume.ts";

/** The prefix "system." by its number, and what follows it. */
const DATA_NAME = { index: 7, name: Uint8Array.from(Buffer.from("data")) } as const;

/** Where the rest of the content lies: `size` bytes from byte `at` of the inode's block on. */
export interface ContentRest {
  readonly at: number;
  readonly size: number;
}

/** Throws: CorruptionError where the inode says so on a volume without the feature. */
export function isInline(volume: ExtVolume, raw: RawInode): boolean {
  const flags = inodeFlags(raw);
  if ((flags & INODE_INLINE_DATA) === 0) return false;
  const isAllowed = (volume.features.incompatible & INCOMPATIBLE.inline_data) !== 0;
  if (isAllowed && (flags & INODE_EXTENTS) === 0) return true;
  const expected = isAllowed
    ? "which says inline data and extents"
    : "which says inline data on a volume without it";
  throw volume.damage(raw, DiskInode.structure, "i_flags", flags, expected);
}

/** Throws: CorruptionError where there is none: it belongs to an inline inode. */
export function contentRest(volume: ExtVolume, raw: RawInode): ContentRest {
  const area = areaOfBody(volume, raw);
  const place = area === null ? null : placeOf(volume, area);
  if (place !== null) return place;
  const expected = "but the inode says that it has its content inside";
  throw volume.damage(raw, DiskInode.structure, "system.data", "missing", expected);
}

function placeOf(volume: ExtVolume, area: AttributeArea): ContentRest | null {
  return readBody(volume, area).length === 0 ? null : placeOfValue(volume, area, DATA_NAME);
}

/**
 * A copy of the content of an inline file or symlink: up to its size, or less where zeroes follow. Throws:
 * CorruptionError.
 */
export function inlineContent(volume: ExtVolume, raw: RawInode): Uint8Array {
  const { bytes } = raw.block;
  const rest = contentRest(volume, raw);
  const size = Math.min(inodeSize(raw), CONTENT_SIZE + rest.size);
  const content = new Uint8Array(size);
  const start = raw.at + CONTENT_BYTE;
  content.set(bytes.subarray(start, start + Math.min(size, CONTENT_SIZE)));
  if (size > CONTENT_SIZE) {
    content.set(bytes.subarray(rest.at, rest.at + size - CONTENT_SIZE), CONTENT_SIZE);
  }
  return content;
}

/** See `extentAt` of inode-map.ts: the content is the first block. */
export function inlineExtent(
  volume: ExtVolume,
  raw: RawInode,
  from: number,
  limit: number,
): Extent {
  const { blockSize } = volume;
  const start = from * blockSize;
  if (from > 0) return { kind: "hole", start, length: (limit - from) * blockSize };
  return { kind: "inline", start, length: blockSize, bytes: inlineContent(volume, raw) };
}

/** Makes an inline inode, which is being edited, one with an empty map. Its size stays; the content is lost. */
export function dropInline(volume: ExtVolume, raw: RawInode): void {
  const area = areaOfBody(volume, raw);
  if (area !== null) {
    const others = readBody(volume, area).filter(
      ({ index, name }) => index !== DATA_NAME.index || Buffer.compare(name, DATA_NAME.name) !== 0,
    );
    writeBody(area, others);
  }
  const start = raw.at + CONTENT_BYTE;
  raw.block.bytes.fill(0, start, start + CONTENT_SIZE);
  const others = inodeFlags(raw) & ~INODE_INLINE_DATA;
  const hasExtents = (volume.features.incompatible & INCOMPATIBLE.extents) !== 0;
  setInodeFlags(raw, hasExtents ? others | INODE_EXTENTS : others);
  if (hasExtents) initializeRoot(raw);
}
