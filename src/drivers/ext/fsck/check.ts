/**
 * The check of an ext2, ext3 or ext4 volume: reads all of its metadata, changes nothing, and tells what is
 * wrong. The passes follow one another, since each relies on what those before have seen:
 *
 *     superblock.ts   the superblock, and what the groups say of themselves
 *     inodes.ts       every inode in use, the map of its blocks, its attributes
 *     directories.ts  every name
 *     tree.ts         whether every directory is reached, and the links
 *     bitmaps.ts      bitmaps and counts against what was seen
 *     quotas.ts       what users, groups and projects are said to have, against that
 *
 * Each is a generator that stops now and then, so that who runs it can show progress, or end it.
 *
 * Before all of them a journal that waits for it is replayed into memory (replay.ts), if that is wanted.
 */
import { CorruptionError } from "../../../base/errors.ts";
import { invariant } from "../../../base/invariant.ts";
import { formatUuid } from "../superblock.ts";
import { ExtVolume } from "../volume.ts";
import { checkBitmaps } from "./bitmaps.ts";
import { Census } from "./census.ts";
import { checkDirectories } from "./directories.ts";
import {
  type Finding,
  type FindingCode,
  Findings,
  type Found,
  type FsckNotice,
} from "./findings.ts";
import { checkInodes } from "./inodes.ts";
import { checkJournal } from "./journal.ts";
import { addPaths } from "./paths.ts";
import { type CheckedDevice, CheckReader } from "./reader.ts";
import { replayInMemory } from "./replay.ts";
import { checkQuotas } from "./quotas.ts";
import {
  checkGroups,
  type GroupRecord,
  type OpenedSuperblock,
  openSuperblock,
  tellStates,
} from "./superblock.ts";
import { checkTree } from "./tree.ts";

/** Where a check is: so many of so many groups, inodes or directories. */
export interface FsckProgress {
  readonly pass: "groups" | "inodes" | "directories" | "links" | "bitmaps";
  readonly done: number;
  readonly total: number;
}

/** A pass under way. */
export type Steps = Generator<FsckProgress, void, void>;

/** What was checked. */
export interface FsckVolume {
  readonly label: string;
  readonly uuid: string;
  readonly blockSize: number;
  readonly blocks: number;
  readonly inodes: number;
  readonly inodesUsed: number;
  readonly directories: number;
}

export interface CheckResult {
  /** "cannot-check": no superblock that this version can read. */
  readonly verdict: "clean" | "errors" | "cannot-check";
  /** Why it cannot be checked; else null. */
  readonly reason: string | null;
  readonly findings: readonly Finding[];
  /** How many there are; `findings` has the first of them. */
  readonly findingsTotal: number;
  readonly notices: readonly FsckNotice[];
  readonly volume: FsckVolume | null;
}

/** What the passes share. */
export class Check {
  readonly findings: Findings;
  readonly volume: ExtVolume;
  readonly census: Census;
  readonly reader: CheckReader;
  /** In order; what each group's descriptor says, where that can be. */
  readonly groups: GroupRecord[] = [];
  /** Inodes that were deleted while they were open. */
  orphans: ReadonlySet<number> = new Set();
  /** The superblock that is relied on. */
  readonly superblock: DataView;
  /** The volume is as a crash left it, its journal replayed: what a mount goes on with is not wrong. */
  readonly isReplayed: boolean;
  /** What is being looked at, for damage that a verifier finds. */
  about: Partial<Found> = {};

  constructor(
    device: CheckedDevice,
    { facts, view }: OpenedSuperblock,
    findings: Findings,
    isReplayed: boolean,
  ) {
    this.findings = findings;
    this.superblock = view;
    this.isReplayed = isReplayed;
    this.reader = new CheckReader(device, facts.blockSize, (error) => this.tellDamage(error));
    const store = () => invariant(false, "a check changes nothing");
    const unchanged = { size: device.size, zero: store, copyIn: store };
    this.volume = new ExtVolume(facts, this.reader, unchanged);
    this.census = new Census(this.volume);
  }

  tell(code: FindingCode, found: Found): void {
    this.findings.add(code, found);
  }

  tellDamage(error: CorruptionError): void {
    this.findings.addDamage(error.damage, this.about);
  }

  /** Runs what may meet damage, and tells of it. Returns null then. */
  attempt<T>(look: () => T): T | null {
    try {
      return look();
    } catch (error) {
      if (!(error instanceof CorruptionError)) throw error;
      this.tellDamage(error);
      return null;
    }
  }
}

export interface CheckOptions {
  /** How many findings to keep. */
  readonly findingsMax: number;
  /** Replay a journal that waits for it, in memory; else it is passed over. */
  readonly replay: boolean;
}

/** Checks the volume on a device. */
export function* checkVolume(
  device: CheckedDevice,
  { findingsMax, replay }: CheckOptions,
): Generator<FsckProgress, CheckResult, void> {
  const findings = new Findings(findingsMax);
  let opened = openSuperblock(device, findings);
  let replayed: CheckedDevice | null = null;
  if (typeof opened !== "string" && replay && opened.facts.needsRecovery) {
    replayed = replayInMemory(device, opened.facts, findings);
    if (replayed !== null) opened = openSuperblock(replayed, findings);
  }
  if (typeof opened === "string") {
    const { kept, total, notices } = findings;
    return {
      verdict: "cannot-check",
      reason: opened,
      findings: kept,
      findingsTotal: total,
      notices,
      volume: null,
    };
  }
  const check = new Check(replayed ?? device, opened, findings, replayed !== null);
  yield* runPasses(check);
  const kept = yield* addPaths(check);
  return {
    verdict: findings.total === 0 ? "clean" : "errors",
    reason: null,
    findings: kept,
    findingsTotal: findings.total,
    notices: findings.notices,
    volume: describe(check),
  };
}

function* runPasses(check: Check): Steps {
  tellStates(check);
  yield* checkGroups(check);
  yield* checkInodes(check);
  yield* checkDirectories(check);
  checkJournal(check);
  yield* checkTree(check);
  yield* checkBitmaps(check);
  checkQuotas(check);
}

function describe({ volume, census }: Check): FsckVolume {
  const { label, blockSize, blocks, inodes, uuid } = volume.facts;
  const { inodesUsed, directories } = census;
  return { label, uuid: formatUuid(uuid), blockSize, blocks, inodes, inodesUsed, directories };
}
