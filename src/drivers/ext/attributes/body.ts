/** Extended attributes in an inode's own bytes, after the fields it has. */
import {
  type AttributeArea,
  readAttributeArea,
  type StoredAttribute,
  writeAttributeArea,
} from "./area.ts";
import {
  ATTRIBUTE_BODY_HEADER_SIZE,
  ATTRIBUTE_MAGIC,
  DiskInode,
  INODE_SIZE_OLD,
} from "../format.ts";
import { extraSize, type RawInode } from "../inodes/inode.ts";
import type { ExtVolume } from "../volume.ts";

/** The rest of an inode's bytes, its header left out; null where that is nothing. */
export function areaOfBody(volume: ExtVolume, raw: RawInode): AttributeArea | null {
  const { block, at } = raw;
  const extra = extraSize(volume, raw);
  if (extra === 0) return null;
  if (extra % 4 !== 0) {
    throw volume.damage(
      raw,
      DiskInode.structure,
      "i_extra_isize",
      extra,
      "expected a multiple of 4",
    );
  }
  const start = at + INODE_SIZE_OLD + extra + ATTRIBUTE_BODY_HEADER_SIZE;
  const end = at + volume.facts.inodeSize;
  if (start + ATTRIBUTE_BODY_HEADER_SIZE > end) return null;
  return { block, start, end, origin: start, isBlock: false };
}

/** The attributes of an area that `areaOfBody` gave. Throws: CorruptionError. */
export function readBody(volume: ExtVolume, area: AttributeArea | null): StoredAttribute[] {
  return area === null || !hasBody(area) ? [] : readAttributeArea(volume, area);
}

/** Without the magic an inode's rest is unused, whatever it holds. */
function hasBody({ block, start }: AttributeArea): boolean {
  return block.view.getUint32(start - ATTRIBUTE_BODY_HEADER_SIZE, true) === ATTRIBUTE_MAGIC;
}

/** Makes `attributes`, which fit, the content of an inode's area. */
export function writeBody(area: AttributeArea, attributes: readonly StoredAttribute[]): void {
  const magic = attributes.length === 0 ? 0 : ATTRIBUTE_MAGIC;
  area.block.view.setUint32(area.start - ATTRIBUTE_BODY_HEADER_SIZE, magic, true);
  writeAttributeArea(area, attributes);
}
