/** The options of `holdfast collide`. */
import { randomInt } from "node:crypto";
import { availableParallelism } from "node:os";
import {
  byteSize,
  type CommandSpec,
  type OptionValues,
  oneOf,
  positiveNumber,
  readOptions,
  UsageError,
  wholeNumber,
} from "../usage.ts";
import type { Mix } from "./lanes.ts";

export const SECONDS_DEFAULT = 15;
const SECONDS_MAX = 7 * 86_400;
const THREADS_MAX = 64;
const VOLUME_BYTES_MIN = 16 * 2 ** 20;
const VOLUME_BYTES_MAX = 2 ** 30;
const SEED_MAX = 2 ** 32 - 1;

export interface CollideOptions {
  readonly driver: "ext4" | "ram";
  readonly mix: Mix;
  readonly seconds: number;
  readonly threads: number;
  /** Path of the file that I/O reads from. */
  readonly source: string;
  readonly seed: number;
  /** false: layout changes do not wait for pins. */
  readonly protect: boolean;
  readonly json: boolean;
  /** The volume's image stays. */
  readonly keep: boolean;
  readonly volumeBytes: number;
}

const DEFAULTS = {
  driver: "ext4",
  mix: "basic",
  seconds: String(SECONDS_DEFAULT),
  source: process.execPath,
  size: "64M",
  protect: "on",
};

export const COLLIDE_SPEC: CommandSpec = {
  name: "collide",
  about: `Runs asynchronous I/O into mapped storage while other threads truncate, punch, collapse and
reallocate the very blocks under it, and checks that not one byte ends up in the wrong file.`,
  usage: ["[OPTIONS]"],
  completes: "nothing",
  options: [
    ["--driver <ext4|ram>", "the filesystem", DEFAULTS.driver],
    [
      "--mix <basic|full>",
      "full: also leases and long-term pins, lost pages, aborted cuts, and a thread that is killed again and again",
      DEFAULTS.mix,
    ],
    ["--seconds <n>", "how long", DEFAULTS.seconds],
    ["--threads <n>", `worker threads, 1 to ${THREADS_MAX}`, "one per core"],
    ["--source <file>", "what I/O reads: a file of 1 MiB or more", "the Node.js executable"],
    ["--seed <n>", `fixes the operation mix, 0 to ${SEED_MAX}`, "random, and printed"],
    ["--size <bytes>", "the volume's size, 16M to 1024M", DEFAULTS.size],
    [
      "--protect <on|off>",
      "off: layout changes do not wait for pinned I/O, and the run must find the damage",
      DEFAULTS.protect,
    ],
    ["--json", "print the result as one line of JSON, and nothing else, on standard output"],
    ["--keep", "leave the volume's image behind, and say where"],
  ],
  notes: `The volume is made by mkfs.ext4 where that is installed, else unpacked from this package; it lies
on /dev/shm or in the temporary directory. Its files want more room than it has, so freed blocks are
used again at once. How each check works: docs/collide.md.

Ctrl-C ends the run early; everything is still checked and printed.`,
  examples: [
    "holdfast collide",
    "holdfast collide --seconds 60 --mix full",
    "holdfast collide --protect off                       what happens without",
  ],
  exitCodes: "Exit codes: 0 nothing wrong, 1 something was found, 2 wrong usage.",
};

/** Reads the command line. Throws: UsageError. */
export function parseCollideOptions(args: readonly string[]): CollideOptions {
  const values: OptionValues = { ...DEFAULTS, ...readOptions(args, COLLIDE_SPEC) };
  const driver = oneOf("driver", text(values, "driver"), ["ext4", "ram"]);
  const keep = values["keep"] === true;
  if (keep && driver === "ram") {
    throw new UsageError(
      "--keep needs --driver ext4: a volume in memory has no image to leave behind",
    );
  }
  return {
    driver,
    mix: oneOf("mix", text(values, "mix"), ["basic", "full"]),
    seconds: positiveNumber("seconds", text(values, "seconds"), SECONDS_MAX),
    threads:
      values["threads"] === undefined
        ? Math.min(THREADS_MAX, availableParallelism())
        : wholeNumber("threads", text(values, "threads"), 1, THREADS_MAX),
    source: text(values, "source"),
    seed:
      values["seed"] === undefined
        ? randomInt(SEED_MAX + 1)
        : wholeNumber("seed", text(values, "seed"), 0, SEED_MAX),
    protect: oneOf("protect", text(values, "protect"), ["on", "off"]) === "on",
    json: values["json"] === true,
    keep,
    volumeBytes: byteSize("size", text(values, "size"), VOLUME_BYTES_MIN, VOLUME_BYTES_MAX),
  };
}

function text(values: OptionValues, name: string): string {
  return String(values[name]);
}
