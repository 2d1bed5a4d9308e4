/** `holdfast info`: what a volume is. */
import { closeSync, openSync, readSync } from "node:fs";
import {
  describeGroups,
  describeSuperblock,
  ExtDriver,
  type GroupText,
  isSuperblock,
  SUPERBLOCK_BYTE,
  SUPERBLOCK_SIZE,
  type SuperblockText,
} from "../../drivers/ext/index.ts";
import type { Mounted } from "../../volume/mount.ts";
import { isOfWorld, type Job, someOperands, volumeCommand } from "../job.ts";
import { reasonOf } from "../reason.ts";
import { formatBytes, formatCount, plural, volumeTitle } from "../terminal.ts";
import { type CommandSpec, EXIT_FOUND, JSON_LINES } from "../usage.ts";

const SPEC: CommandSpec = {
  name: "info",
  about: "Tells what a volume is: type, size, what is free, features, how it was left, its groups.",
  usage: ["[OPTIONS] IMAGE..."],
  completes: "image",
  options: [["-g, --groups", "also each block group"], JSON_LINES],
  notes: `Nothing changes: a journal that waits to be replayed is, in memory. Of a volume that cannot be mounted
it says why, and what the superblock says of features and times.`,
  examples: [
    "holdfast info disk.img",
    "holdfast info --groups --json disk.img | jq '.groups[].freeBlocks'",
  ],
};

/** What a mount of it tells; null where it cannot be mounted. */
interface Facts {
  readonly type: string;
  readonly label: string;
  readonly uuid: string;
  readonly size: number;
  readonly blockSize: number;
  readonly blocks: number;
  readonly blocksFree: number;
  readonly reservedBlocks: number;
  readonly inodes: number;
  readonly inodesFree: number;
  readonly inodeSize: number;
  readonly groups: number;
  readonly blocksPerGroup: number;
  readonly inodesPerGroup: number;
  readonly hasJournal: boolean;
  /** How Holdfast mounts it, and why it can only be read. */
  readonly mountable: "read-write" | "read-only";
  readonly readOnlyReason: string | null;
}

async function info(job: Job): Promise<void> {
  const { session } = job.places;
  const images = session === null ? someOperands(job, "an image file or a block device") : ["/"];
  for (const [at, text] of images.entries()) {
    const place = job.places.volume(text, "image");
    const superblock = job.attempt(place.shown, () => superblockOf(place.image));
    let mounted: Mounted | null = null;
    let reason: string | null = null;
    try {
      mounted = job.places.mounted(place, "read");
    } catch (error) {
      if (!isOfWorld(error)) throw error;
      reason = reasonOf(error);
      if (superblock !== null) job.complain(place.shown, error);
    }
    if (superblock === null) {
      job.code = EXIT_FOUND;
      continue;
    }
    const facts = mounted === null ? null : factsOf(mounted);
    const groups = mounted !== null && job.has("groups") ? groupsOf(mounted) : null;
    if (job.json) {
      const all = { image: place.image, ...facts, ...superblock, reason };
      job.terminal.print(JSON.stringify(groups === null ? all : { ...all, groups }));
      continue;
    }
    if (at > 0) job.terminal.print();
    print(job, place.image, facts, superblock);
    if (groups !== null) printGroups(job, groups);
  }
}

/** As it is on the device. Throws: ENOENT, EACCES; what mounting says of what is no ext volume. */
function superblockOf(image: string): SuperblockText | null {
  const bytes = new Uint8Array(SUPERBLOCK_SIZE);
  const fd = openSync(image, "r");
  try {
    const count = readSync(fd, bytes, 0, SUPERBLOCK_SIZE, SUPERBLOCK_BYTE);
    if (count === SUPERBLOCK_SIZE && isSuperblock(bytes)) return describeSuperblock(bytes);
  } finally {
    closeSync(fd);
  }
  throw notExt(image);
}

function notExt(image: string): Error {
  return Object.assign(new Error(`'${image}' holds no ext2, ext3 or ext4 volume`), {
    code: "EINVAL",
  });
}

function factsOf({ volume, core }: Mounted): Facts | null {
  const { driver } = core;
  if (!(driver instanceof ExtDriver)) return null;
  const { facts } = driver.volume;
  const { blocksFree, inodesFree } = driver.spaceInfo();
  const readOnlyReason = driver.readOnlyReason;
  return {
    type: volume.type,
    label: volume.label,
    uuid: volume.uuid,
    size: facts.blocks * facts.blockSize,
    blockSize: facts.blockSize,
    blocks: facts.blocks,
    blocksFree,
    reservedBlocks: facts.reservedBlocks,
    inodes: facts.inodes,
    inodesFree,
    inodeSize: facts.inodeSize,
    groups: facts.groups,
    blocksPerGroup: facts.blocksPerGroup,
    inodesPerGroup: facts.inodesPerGroup,
    hasJournal: facts.hasJournal,
    mountable: readOnlyReason === null ? "read-write" : "read-only",
    readOnlyReason,
  };
}

function groupsOf({ core }: Mounted): GroupText[] | null {
  return core.driver instanceof ExtDriver ? [...describeGroups(core.driver.volume)] : null;
}

function print({ terminal }: Job, image: string, facts: Facts | null, text: SuperblockText): void {
  const row = (name: string, value: string): void => terminal.print(`  ${name.padEnd(9)} ${value}`);
  if (facts === null) terminal.print(terminal.style("bold", image));
  else {
    terminal.print(terminal.style("bold", volumeTitle(image, facts)));
    const { blocks, blockSize, blocksFree, reservedBlocks } = facts;
    const free = `${formatCount(blocksFree)} free (${formatBytes(blocksFree * blockSize)})`;
    row("uuid", facts.uuid);
    row(
      "blocks",
      `${formatCount(blocks)} of ${blockSize} bytes, ${free}, ${formatCount(reservedBlocks)} reserved`,
    );
    const inodes = `${formatCount(facts.inodes)} of ${facts.inodeSize} bytes`;
    row("inodes", `${inodes}, ${formatCount(facts.inodesFree)} free`);
    const each = `${formatCount(facts.blocksPerGroup)} blocks and ${formatCount(facts.inodesPerGroup)} inodes`;
    row("groups", `${formatCount(facts.groups)} of ${each}`);
    row("journal", facts.hasJournal ? (text.needsRecovery ? "to be replayed" : "empty") : "none");
    row("mounted", mountText(facts));
  }
  row("features", text.features.join(" "));
  row("state", stateOf(text));
  row("made", timeText(text.made));
  row("last", `mounted ${timeText(text.mounted)}, written ${timeText(text.written)}`);
  row("checked", `${timeText(text.checked)}, ${plural(text.mountCount, "mount")} since`);
}

function mountText({ readOnlyReason }: Facts): string {
  return readOnlyReason === null
    ? "for reading and writing"
    : `for reading only: ${readOnlyReason}`;
}

function stateOf({ isClean, hasErrors, needsRecovery }: SuperblockText): string {
  const errors = hasErrors ? ", with errors: run fsck" : "";
  if (needsRecovery) return `in use, or was not unmounted${errors}`;
  return `${isClean ? "clean" : "in use, or was not unmounted"}${errors}`;
}

function timeText(seconds: number): string {
  if (seconds === 0) return "never";
  return new Date(seconds * 1000).toISOString().replace("T", " ").replace(".000Z", " UTC");
}

const COLUMNS = [
  ["group", "Group"],
  ["firstBlock", "First"],
  ["blocks", "Blocks"],
  ["freeBlocks", "Free"],
  ["freeInodes", "FreeInodes"],
  ["directories", "Dirs"],
  ["blockBitmap", "BlockBitmap"],
  ["inodeBitmap", "InodeBitmap"],
  ["inodeTable", "InodeTable"],
] as const;

function printGroups({ terminal }: Job, groups: readonly GroupText[]): void {
  const rows = groups.map((each) => COLUMNS.map(([name]) => String(each[name])));
  const widths = COLUMNS.map(([, title], at) =>
    rows.reduce((most, row) => Math.max(most, row[at]!.length), title.length),
  );
  const line = (cells: readonly string[]): string =>
    cells.map((cell, at) => cell.padStart(widths[at]!)).join("  ");
  terminal.print();
  terminal.print(terminal.style("dim", `${line(COLUMNS.map(([, title]) => title))}  Flags`));
  for (const [at, row] of rows.entries()) {
    terminal.print(`${line(row)}  ${groups[at]!.flags.join(" ")}`.trimEnd());
  }
}

export const infoCommand = volumeCommand(SPEC, info);
