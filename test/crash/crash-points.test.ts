// Crashes at every moment of sequences of operations, with every content that they may leave on the medium: our
// own mount brings the volume in order, and so does e2fsck, and nothing that was promised is missing.
// HOLDFAST_CRASH_STATES: how many to try in all, at least.

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect } from "vitest";
import { HoldfastError, mountSync, type Volume } from "../../src/index.ts";
import { differences, kernelPlace, treeOf, volumePlace } from "../interop/trees.ts";
import {
  canLoopMount,
  e2fsckClean,
  hasTool,
  isRoot,
  loopMount,
  mkfsExt4,
  run,
  skipUnless,
  type TemporaryDirectory,
  temporaryDirectory,
} from "../support/tools.ts";
import {
  fillLog,
  inline,
  inlineSymlink,
  type Operation,
  operations,
  prepare,
  type Special,
  values,
} from "./operations.ts";
import { type Random, randomFrom, SEED } from "../support/random.ts";
import { endTurn } from "../support/turns.ts";
import { type CrashState, crashStates, record } from "./recorder.ts";
import { type Snapshot, snapshotOf, whyNotAllowed } from "./snapshots.ts";

const STATES = Number(process.env["HOLDFAST_CRASH_STATES"] ?? 2400);
const REGION_BYTES = 2 ** 24;
/** One state in so many is also recovered by e2fsck, and by the kernel. */
const E2FSCK_EVERY = 4;
const KERNEL_EVERY = 50;

/** How often the log has gone home before, and how many commits are left until it does again. */
interface Filling {
  readonly times: number;
  readonly rest: number;
}

interface Recorded {
  readonly events: ReturnType<typeof record>;
  /** What the volume held at the start, and after each operation. */
  readonly snapshots: readonly Snapshot[];
  /** Of each mark, the last snapshot that was durable then. */
  readonly durable: readonly number[];
}

/**
 * Runs a sequence on the image, and unmounts it. `filling`: what is done to the log before; null: the crash may be in
 * the mount as well.
 */
function play(image: string, sequence: readonly Operation[], filling: Filling | null): Recorded {
  const snapshots: Snapshot[] = [];
  const durable = [0];
  const events = record(image, (mark, stores) => {
    if (filling === null) mark(0);
    const volume = mountSync(image, { regionBytes: REGION_BYTES });
    if (filling !== null) fillLog(volume, stores, filling);
    snapshots.push(snapshotOf(volume));
    if (filling !== null) mark(0);
    for (const operation of sequence) {
      const isDone = attempt(volume, operation);
      snapshots.push(snapshotOf(volume));
      const at = snapshots.length - 1;
      durable.push(isDone && operation.syncs ? at : durable.at(-1)!);
      mark(at);
    }
    volume.closeSync();
    durable.push(snapshots.length - 1);
    mark(durable.length - 1);
  });
  return { events, snapshots, durable };
}

/** What cannot be done, because of what was done before, is left out. */
function attempt(volume: Volume, operation: Operation): boolean {
  try {
    operation.run(volume);
    return true;
  } catch (error) {
    if (!(error instanceof HoldfastError)) throw error;
    return false;
  }
}

/** What the volume in `image` holds after recovery. */
function recovered(image: string): Snapshot {
  const volume = mountSync(image, { regionBytes: REGION_BYTES });
  try {
    expect(volume.readOnlyReason).toBe(null);
    return snapshotOf(volume);
  } finally {
    volume.closeSync();
  }
}

/**
 * Sequences of up to three operations, each followed by nothing or by one that makes it durable. Of `special` ones,
 * where there are any, are three in four.
 */
function sequenceOf(random: Random, special: readonly Operation[]): Operation[] {
  const pick = (syncs: boolean): Operation => {
    const from = special.length > 0 && random.fraction() < 0.75 ? special : operations;
    const fitting = from.filter((operation) => (operation.syncs ?? false) === syncs);
    return random.pick(fitting);
  };
  const length = 1 + random.below(3);
  return Array.from({ length }, () => [
    pick(false),
    ...(random.fraction() < 0.6 ? [pick(true)] : []),
  ]).flat();
}

/** A volume made with `args`, and with all that `specials` have. */
function makeBase(
  path: string,
  { blockSize, args, specials = [] }: Kind,
  scratch: TemporaryDirectory,
): void {
  const source = scratch.file("source");
  mkdirSync(source);
  for (const special of specials) special.source?.(source);
  const usual = ["-N", "64", "-J", `size=${blockSize / 1024}`];
  mkfsExt4(path, blockSize * 2560, [...usual, ...args, "-d", source]);
  // mke2fs counts quotas before it fills the volume.
  if (hasQuotas(args)) run("e2fsck", ["-f", "-y", path]);
  const volume = mountSync(path, { regionBytes: REGION_BYTES });
  prepare(volume);
  for (const special of specials) special.prepare?.(volume);
  volume.closeSync();
}

const hasQuotas = (args: readonly string[]): boolean =>
  args.some((arg) => arg.split(",").includes("quota"));

interface Kind {
  readonly blockSize: number;
  readonly args: readonly string[];
  readonly log: "begins" | "goes round";
  readonly specials?: readonly Special[];
}

const KINDS: readonly Kind[] = [
  { blockSize: 1024, args: ["-b", "1024"], log: "begins" },
  { blockSize: 4096, args: ["-b", "4096"], log: "begins" },
  {
    blockSize: 1024,
    args: ["-b", "1024", "-t", "ext4", "-O", "^metadata_csum,^64bit"],
    log: "begins",
  },
  { blockSize: 1024, args: ["-b", "1024", "-t", "ext3"], log: "begins" },
  { blockSize: 1024, args: ["-b", "1024", "-O", "orphan_file"], log: "begins" },
  { blockSize: 1024, args: ["-b", "1024", "-O", "quota"], log: "begins" },
  { blockSize: 1024, args: ["-b", "1024", "-I", "128"], log: "goes round" },
  { blockSize: 1024, args: ["-b", "1024", "-t", "ext3", "-I", "256"], log: "goes round" },
  {
    blockSize: 4096,
    args: ["-b", "4096", "-O", "inline_data"],
    log: "begins",
    specials: [inline, inlineSymlink],
  },
  {
    blockSize: 1024,
    args: ["-b", "1024", "-I", "256", "-O", "inline_data,orphan_file,quota"],
    log: "begins",
    specials: [inline],
  },
  { blockSize: 1024, args: ["-b", "1024", "-O", "ea_inode"], log: "begins", specials: [values] },
  {
    blockSize: 1024,
    args: ["-b", "1024", "-N", "128", "-I", "256", "-O", "ea_inode,inline_data,quota"],
    log: "goes round",
    specials: [inline, values],
  },
];

describe.each(KINDS.map((kind) => [kind.args.join(" "), kind.log, kind] as const))(
  "a crash of a volume made with %s, whose log %s",
  (_args, _log, kind) => {
    const { args, log, specials = [] } = kind;
    skipUnless("mkfs.ext4", "e2fsck")(
      "loses nothing that was promised, and leaves a whole volume",
      { timeout: 3_600_000 },
      async () => {
        using directory = temporaryDirectory();
        const base = directory.file("base");
        makeBase(base, kind, directory);
        const special = specials.flatMap(({ operations: own }) => own);
        const random = randomFrom(SEED);
        const tally = { sequences: 0, states: 0, e2fsck: 0, kernel: 0 };
        // With quotas the kernel mounts it only if it was built for them.
        const mayMount = !hasQuotas(args) && isRoot() && hasTool("mount") && canLoopMount();
        const image = directory.file("image");
        const state = directory.file("state");
        while (tally.states < STATES / KINDS.length) {
          const sequence = sequenceOf(random, special);
          copyFileSync(base, image);
          const filling = { times: 2 + random.below(3), rest: 1 + random.below(3) };
          const played = play(image, sequence, log === "begins" ? null : filling);
          const states = crashStates(
            readFileSync(base),
            played.events,
            { exhaustive: 16, random: 4 },
            random,
          );
          for (const crash of states) {
            const told = `${sequence.map(({ name }) => name).join(", ")}; ${crash.what}`;
            verifyState(state, crash, played, told);
            if (tally.states % E2FSCK_EVERY === 0)
              verifyByE2fsck(state, crash, played, told, tally);
            if (mayMount && tally.states % KERNEL_EVERY === 0) {
              verifyByKernel(state, crash, directory.path, told, tally);
            }
            tally.states++;
            await endTurn();
          }
          tally.sequences++;
        }
        process.stdout.write(
          `crash states of ${args.join(" ")}, log ${log}: ${JSON.stringify(tally)}\n`,
        );
      },
    );
  },
);

function assertAllowed(found: Snapshot, { mark }: CrashState, played: Recorded, told: string) {
  const { snapshots, durable } = played;
  const from = mark < 0 ? 0 : durable[mark]!;
  const allowed = snapshots.slice(from, Math.max(mark, 0) + 2);
  const why = whyNotAllowed(found, allowed, allowed);
  expect(why === null ? null : `${told}: ${why}`).toBe(null);
}

function verifyState(path: string, crash: CrashState, played: Recorded, told: string): void {
  writeFileSync(path, crash.image);
  assertAllowed(recovered(path), crash, played, told);
  const { clean, output } = e2fsckClean(path);
  expect(clean ? "" : `${told}: ${output}`).toBe("");
}

function verifyByE2fsck(
  path: string,
  crash: CrashState,
  played: Recorded,
  told: string,
  tally: { e2fsck: number },
): void {
  writeFileSync(path, crash.image);
  const { code, stdout } = run("e2fsck", ["-f", "-y", path]);
  // Of an orphan file it asks whether to take back that there may be orphans: the kernel leaves that, too.
  const asked = stdout.match(/^.*\? yes$/gm) ?? [];
  const isOrphanFile = stdout.includes("orphan_present is set but orphan file is clean");
  // That the log is over is on the medium before the superblock says so: e2fsck would ask what to do with the log.
  expect(stdout, told).not.toContain("needs_recovery flag is clear");
  const isWhole = code === 0 || (code === 1 && isOrphanFile && asked.length === 1);
  expect(isWhole ? "" : `${told}: ${stdout}`).toBe("");
  assertAllowed(recovered(path), crash, played, told);
  tally.e2fsck++;
}

function verifyByKernel(
  path: string,
  crash: CrashState,
  scratch: string,
  told: string,
  tally: { kernel: number },
): void {
  writeFileSync(path, crash.image);
  mkdirSync(`${scratch}/mnt`, { recursive: true });
  const mounted = loopMount(path, `${scratch}/mnt`);
  const theirs = treeOf(kernelPlace(mounted.directory));
  mounted.unmount();
  writeFileSync(path, crash.image);
  const volume = mountSync(path, { regionBytes: REGION_BYTES });
  const ours = treeOf(volumePlace(volume));
  volume.closeSync();
  expect({ told, differences: differences(ours, theirs, ["atime"]) }).toEqual({
    told,
    differences: [],
  });
  tally.kernel++;
}
