/** A directory that outgrows its inode. */
import type { Transaction } from "../../../metadata/transaction.ts";
import type { DirectoryFile } from "./directory-file.ts";
import { DOTS_SIZE, inlineParent } from "./inline-areas.ts";
import { dropInline } from "../maps/inline-data.ts";
import { editInode, setInodeSize } from "../inodes/inode.ts";
import { DiskEntry, dot, dotDot, insertName, recordLengthAt, recordLengthFor } from "./names.ts";

/**
 * Moves the names of a directory in its inode to its first block, each to the byte that its area's `base` gives it, so
 * that a listing goes on (listing.ts). Throws: ENOSPC, CorruptionError.
 */
export function moveDirectoryOut(directory: DirectoryFile, transaction: Transaction): void {
  const { volume, ino, entriesEnd } = directory;
  const raw = editInode(volume, transaction, ino);
  const parent = inlineParent(volume, raw);
  const areas = (directory.areas ?? []).map((area, index) => {
    const { bytes } = directory.readNames(index);
    return { base: area.base, bytes: bytes.slice(area.entriesStart, area.entriesEnd) };
  });
  dropInline(volume, raw);
  setInodeSize(raw, 0);
  directory.areas = null;
  directory.blockCount = 0;
  const { block } = directory.appendNames(transaction);
  insertName(block, directory, 0, dot, ino, "directory");
  const dotDotAt = insertName(block, directory, 0, dotDot, parent, "directory");
  DiskEntry.recordLength.set(block.view, dotDotAt, recordLengthFor(dotDot.length));
  let end = DOTS_SIZE;
  for (const { base, bytes } of areas) {
    block.bytes.set(bytes, base);
    end = base + bytes.length;
  }
  let last = dotDotAt;
  for (let at = DOTS_SIZE; at < end; at += recordLengthAt(block, directory, at)) last = at;
  DiskEntry.recordLength.set(block.view, last, entriesEnd - last);
}
