/** Paths for findings: only those inodes that something was found of are looked for. */
import { CorruptionError } from "../../../base/errors.ts";
import { INO_ROOT, INODE_INLINE_DATA } from "../format.ts";
import { inlineAreas } from "../directories/inline-areas.ts";
import { inodeFlags, readRaw } from "../inodes/inode.ts";
import { DiskEntry, inoAt, isDotsAt, nameAt } from "../directories/names.ts";
import type { Ino } from "../../../base/quantities.ts";
import type { MetadataBlock } from "../../../metadata/cache.ts";
import type { Check } from "./check.ts";
import { blocksOf, directoriesOf, textOf } from "./directories.ts";
import type { Finding } from "./findings.ts";
import type { FsckProgress } from "./check.ts";

/** A name of an inode. */
interface Name {
  readonly directory: number;
  readonly name: string;
}

/** The findings with paths where there are any. */
export function* addPaths(check: Check): Generator<FsckProgress, readonly Finding[], void> {
  const { kept } = check.findings;
  const wanted = new Set<number>();
  for (const { ino } of kept) if (ino !== null) wanted.add(ino);
  if (wanted.size === 0) return kept;
  const names = new Map<number, Name>();
  for (const ino of [...wanted]) addParents(check, ino, wanted);
  const total = check.census.directories;
  let done = 0;
  for (const directory of directoriesOf(check)) {
    if (done % 64 === 0) yield { pass: "directories", done, total };
    done++;
    noteNames(check, directory, wanted, names);
  }
  // The directories that name what was looked for have names themselves.
  const above = new Set<number>();
  for (const { directory } of [...names.values()]) addParents(check, directory, above);
  for (const ino of above) {
    const directory = check.census.namedBy.get(ino);
    if (!names.has(ino) && directory !== 0) noteNames(check, directory as Ino, above, names);
  }
  return kept.map((finding) =>
    finding.ino === null ? finding : { ...finding, path: pathOf(finding.ino, names) },
  );
}

/** Adds a directory, and those above it. */
function addParents({ census }: Check, ino: number, to: Set<number>): void {
  let at = ino;
  while (at !== INO_ROOT && census.isDirectory(at)) {
    const parent = census.namedBy.get(at);
    to.add(at);
    if (parent === 0 || to.has(parent)) return;
    at = parent;
  }
}

function noteNames(
  check: Check,
  directory: Ino,
  wanted: ReadonlySet<number>,
  names: Map<number, Name>,
): void {
  const note = (block: MetadataBlock, from: number, to: number): void => {
    for (let at = from; at <= to - DiskEntry.structure.size; ) {
      const length = DiskEntry.recordLength.get(block.view, at);
      const ino = inoAt(block, at);
      const nameEnd = at + DiskEntry.structure.size + DiskEntry.nameLength.get(block.view, at);
      if (length < DiskEntry.structure.size || nameEnd > block.bytes.length) break;
      if (wanted.has(ino) && !names.has(ino) && !isDotsAt(block, at)) {
        names.set(ino, { directory, name: textOf(nameAt(block, at)) });
      }
      at += length;
    }
  };
  try {
    const { volume, reader } = check;
    const raw = readRaw(volume, directory);
    if ((inodeFlags(raw) & INODE_INLINE_DATA) !== 0) {
      for (const { entriesStart, entriesEnd } of inlineAreas(volume, raw)) {
        note(raw.block, entriesStart, entriesEnd);
      }
      return;
    }
    for (const place of blocksOf(check, raw, directory).values()) {
      const block = reader.readPassing(place);
      note(block, 0, volume.blockSize);
    }
  } catch (error) {
    if (!(error instanceof CorruptionError)) throw error; // told of before
  }
}

/** The path of an inode, or null where the root is not above it. */
function pathOf(ino: number, names: ReadonlyMap<number, Name>): string | null {
  const parts: string[] = [];
  const seen = new Set<number>();
  let at = ino;
  while (at !== INO_ROOT) {
    const name = names.get(at);
    if (name === undefined || seen.has(at)) return null;
    seen.add(at);
    parts.unshift(name.name);
    at = name.directory;
  }
  return `/${parts.join("/")}`;
}
