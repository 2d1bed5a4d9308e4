/** The check's fourth pass: whether every directory is reached from the root, and the counts of links. */
import type { Ino } from "../../../base/quantities.ts";
import {
  DiskInode,
  INO_ROOT,
  INODE_INDEXED_DIRECTORY,
  LINK_COUNT_MAX,
  READ_ONLY,
} from "../format.ts";
import { inodeFlags, readRaw } from "../inodes/inode.ts";
import { NEEDS_NO_NAME, NumberOfInode, TYPE_DIRECTORY } from "./census.ts";
import type { Check, Steps } from "./check.ts";
import { directoriesOf } from "./directories.ts";
import type { FindingCode } from "./findings.ts";

const CONNECTED = 1;
const UNCONNECTED = 2;

export function* checkTree(check: Check): Steps {
  const { census } = check;
  if (census.isDirectory(INO_ROOT)) {
    census.namedBy.set(INO_ROOT, INO_ROOT);
    if (!census.hasLostFound) {
      const text = "there is no directory /lost+found, where a repair puts what has no name";
      check.findings.notice("lost-found", text);
    }
  } else {
    check.tell("root-missing", {
      structure: DiskInode.structure.name,
      ino: INO_ROOT,
      text: "the root, inode 2, is not a directory in use",
    });
  }
  yield* checkConnections(check);
  yield* checkLinks(check);
}

function tellInode(
  check: Check,
  code: FindingCode,
  ino: number,
  found: { field: string; value: number; expected: number | string; text: string },
): void {
  check.tell(code, { structure: DiskInode.structure.name, ino, ...found });
}

function* checkConnections(check: Check): Steps {
  const { census, volume } = check;
  const states = new NumberOfInode(volume.facts.inodesPerGroup, 1);
  states.set(INO_ROOT, CONNECTED);
  let done = 0;
  for (const ino of directoriesOf(check)) {
    if (done++ % 4096 === 0) yield { pass: "links", done: 0, total: volume.facts.groups };
    connect(check, states, ino);
    const [namer, parent] = [census.namedBy.get(ino), census.parents.get(ino)];
    if (namer !== 0 && parent !== namer) {
      tellInode(check, "directory-parent", ino, {
        field: "..",
        value: parent,
        expected: namer,
        text: `directory inode ${ino}: '..' leads to inode ${parent}, but ${namer} names it`,
      });
    }
  }
}

/**
 * Follows the names up from a directory, to one of which it is known whether it is reached from the root.
 * Of a branch, or a circle, that hangs in the air the top is told.
 */
function connect(check: Check, states: NumberOfInode, from: number): void {
  const path = new Set<number>();
  let at = from;
  while (at !== 0 && states.get(at) === 0 && !path.has(at)) {
    path.add(at);
    at = check.census.namedBy.get(at);
  }
  const state = at !== 0 && states.get(at) === CONNECTED ? CONNECTED : UNCONNECTED;
  for (const ino of path) states.set(ino, state);
  if (at !== 0 && !path.has(at)) return; // told before, if it is not connected
  const top = at === 0 ? [...path].at(-1)! : at;
  tellInode(check, "directory-unconnected", top, {
    field: "names",
    value: check.census.namedBy.get(top),
    expected: "a directory that the root leads to",
    text: `directory inode ${top} cannot be reached from the root`,
  });
}

function* checkLinks(check: Check): Steps {
  const { census, volume } = check;
  const { groups, inodesPerGroup } = volume.facts;
  for (let group = 0; group < groups; group++) {
    yield { pass: "links", done: group, total: groups };
    if (!census.types.hasGroup(group)) continue;
    const first = group * inodesPerGroup + 1;
    for (let ino = first; ino < first + inodesPerGroup; ino++) {
      const type = census.types.get(ino);
      if (type !== 0 && (type & NEEDS_NO_NAME) === 0) checkLink(check, ino, type);
    }
  }
}

function checkLink(check: Check, ino: number, type: number): void {
  const { census } = check;
  const [links, names] = [census.links.get(ino), census.names.get(ino)];
  if (names === 0 && type !== TYPE_DIRECTORY) {
    tellInode(check, "inode-unnamed", ino, {
      field: "names",
      value: 0,
      expected: links,
      text: `inode ${ino} is in use, but no directory names it`,
    });
    return;
  }
  if (links === names || (links === 1 && isUncounted(check, ino, type, names))) return;
  tellInode(check, "link-count", ino, {
    field: "i_links_count",
    value: links,
    expected: names,
    text: `inode ${ino}: i_links_count is ${links}, but ${type === TYPE_DIRECTORY ? "names, '.' and '..' lead to it" : "names stand for it"} ${names} times`,
  });
}

/**
 * Whether a directory with these links may say 1: it has too many, or had, and then it has an index, which
 * stays when names go.
 */
function isUncounted(check: Check, ino: number, type: number, names: number): boolean {
  const { volume } = check;
  if (type !== TYPE_DIRECTORY || (volume.features.readOnly & READ_ONLY.dir_nlink) === 0)
    return false;
  if (names > LINK_COUNT_MAX) return true;
  return (inodeFlags(readRaw(volume, ino as Ino)) & INODE_INDEXED_DIRECTORY) !== 0;
}
