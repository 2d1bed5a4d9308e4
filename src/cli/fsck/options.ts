/** The options of `holdfast fsck`. */
import { type CommandSpec, readArguments, UsageError, wholeNumber } from "../usage.ts";

export interface FsckCommandOptions {
  readonly image: string;
  /** Findings to print; of more it says how many. */
  readonly shownMax: number;
  readonly json: boolean;
  /** A journal that waits for it is replayed, in memory. */
  readonly replay: boolean;
}

const SHOWN_DEFAULT = 100;
const JSON_DEFAULT = 10_000;
const SHOWN_MAX = 1_000_000;

/** As fsck(8) has them. */
export const EXIT_CLEAN = 0;
export const EXIT_ERRORS_LEFT = 4;
export const EXIT_OPERATIONAL = 8;
export const EXIT_FSCK_USAGE = 16;
export const EXIT_CANCELLED = 32;

export const FSCK_SPEC: CommandSpec = {
  name: "fsck",
  about:
    "Checks an ext2, ext3 or ext4 volume: all of its metadata, as e2fsck -fn does. Changes nothing.",
  usage: ["[OPTIONS] IMAGE"],
  completes: "image",
  options: [
    [
      "--max <n>",
      "findings to print; of more only the number is told",
      `${SHOWN_DEFAULT}; ${JSON_DEFAULT} with --json`,
    ],
    ["--no-replay", "pass over a journal that waits to be replayed, as e2fsck -fn does"],
    ["--json", "print the report as one line of JSON"],
  ],
  notes: `IMAGE is an image file or a block device. It must not be mounted for writing by anybody.

Each finding is a line: what is wrong, where, and its code. docs/fsck.md lists the codes, and says
what is looked at and where it differs from e2fsck. What was not checked is said at the end.
A journal that waits to be replayed is replayed in memory. To repair, run e2fsck.`,
  examples: [
    "holdfast fsck disk.img",
    "holdfast fsck --max 1000 /dev/vdb",
    "holdfast fsck --json disk.img | jq -r '.findings[].code' | sort | uniq -c",
  ],
  exitCodes: `Exit codes, those of fsck(8): 0 clean; 4 errors, which are left as they are; 8 the volume cannot be
checked, or read; 16 wrong usage; 32 ended by Ctrl-C.`,
};

/** Throws: UsageError. */
export function parseFsckOptions(args: readonly string[]): FsckCommandOptions {
  const { values, positionals } = readArguments(args, FSCK_SPEC);
  const [image, ...rest] = positionals;
  if (image === undefined) throw new UsageError("give an image file or a block device");
  if (rest.length > 0) throw new UsageError(`give one image, not ${positionals.length}`);
  const json = values["json"] === true;
  const max = values["max"];
  const shownMax =
    max === undefined
      ? json
        ? JSON_DEFAULT
        : SHOWN_DEFAULT
      : wholeNumber("max", String(max), 0, SHOWN_MAX);
  return { image, json, shownMax, replay: values["replay"] !== false };
}
