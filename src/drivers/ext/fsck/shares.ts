/**
 * Blocks with more than one owner. Whose they are besides is not known when they are met: it is looked for at
 * the end of the pass, in all inodes once more, and only if there are any.
 */
import type { Ino } from "../../../base/quantities.ts";
import { attributeBlock, hasMap, readRaw } from "../inodes/inode.ts";
import { walkMap } from "../maps/map-walk.ts";
import { inodesOf } from "./census.ts";
import type { Check, Steps } from "./check.ts";

/** Of so many it is looked for who the others are. */
const LOOKED_FOR_MAX = 1000;
/** Others that a message names. */
const OTHERS_SHOWN_MAX = 5;

/** Blocks that `ino` names and somebody else has. */
export interface Share {
  readonly ino: number;
  /** What the blocks are to it. */
  readonly what: string;
  readonly block: number;
  readonly count: number;
}

/** Tells of every share, with the inodes that have part in it. */
export function* tellShares(check: Check): Steps {
  const { shares } = check.census;
  if (shares.length === 0) return;
  const sought = shares.slice(0, LOOKED_FOR_MAX);
  const others = sought.map(() => new Set<number>());
  let done = 0;
  for (const ino of inodesOf(check.census, check.volume)) {
    if (done++ % 1024 === 0) {
      yield {
        pass: "inodes",
        done: Math.min(done, check.census.inodesUsed),
        total: check.census.inodesUsed,
      };
    }
    noteOwner(check, ino, sought, others);
  }
  for (const [index, share] of shares.entries()) tellShare(check, share, others[index]);
}

function noteOwner(check: Check, ino: Ino, sought: readonly Share[], others: Set<number>[]): void {
  const { volume } = check;
  const note = (start: number, count: number) => {
    for (const [index, share] of sought.entries()) {
      if (start < share.block + share.count && share.block < start + count) others[index]!.add(ino);
    }
  };
  check.attempt(() => {
    const raw = readRaw(volume, ino);
    const attributes = attributeBlock(volume, raw);
    if (attributes !== 0) note(attributes, 1);
    if (!hasMap(raw)) return;
    walkMap(volume, raw, ino, {
      mapBlock: (block) => note(block, 1),
      content: ({ start, count }) => note(start, count),
      damage: () => {},
    });
  });
}

function tellShare(check: Check, share: Share, others: ReadonlySet<number> = new Set()): void {
  const { ino, what, block, count } = share;
  const named = [...others].filter((other) => other !== ino).slice(0, OTHERS_SHOWN_MAX);
  const whose = named.length === 0 ? "another owner" : `inode ${named.join(" and ")}`;
  const blocks =
    count === 1 ? `block ${block} belongs` : `blocks ${block} to ${block + count - 1} belong`;
  check.tell("block-shared", {
    structure: "block",
    ino,
    block,
    deviceByte: check.volume.byteOf(block),
    field: "blocks",
    value: count,
    text: `inode ${ino}, ${what}: ${blocks} to ${whose}, too`,
  });
}
