/** The options of `holdfast trim`. */
import type { TrimOptions } from "../../index.ts";
import { byteSize, type CommandSpec, JSON_RESULT, readArguments, UsageError } from "../usage.ts";

export interface TrimCommandOptions {
  readonly image: string;
  readonly options: Pick<TrimOptions, "start" | "length" | "minimum">;
  readonly json: boolean;
}

const SIZE_MAX = 2 ** 44;

export const TRIM_SPEC: CommandSpec = {
  name: "trim",
  about: `Tells what is below an ext2, ext3 or ext4 volume which blocks are free, as fstrim does for a mount:
an image file has holes there then, and a block device may use them.`,
  usage: ["[OPTIONS] IMAGE"],
  completes: "image",
  options: [
    ["--start <bytes>", "look at the volume from here on, such as 64M", "0"],
    ["--length <bytes>", "look at so much of it", "to its end"],
    ["--minimum <bytes>", "leave runs of free blocks alone that are shorter", "0"],
    JSON_RESULT,
  ],
  notes: `IMAGE is an image file or a block device that nobody has mounted. A journal is replayed first.
Only whole pages of 4096 bytes are told, of volumes with smaller blocks, too.`,
  examples: [
    "holdfast trim disk.img",
    "holdfast trim --minimum 1M /dev/vdb",
    "holdfast trim --json disk.img | jq .discarded",
  ],
  exitCodes: "Exit codes: 0 done, 1 not done, or ended by Ctrl-C; 2 wrong usage.",
};

/** Throws: UsageError. */
export function parseTrimOptions(args: readonly string[]): TrimCommandOptions {
  const { values, positionals } = readArguments(args, TRIM_SPEC);
  const [image, ...rest] = positionals;
  if (image === undefined) throw new UsageError("give an image file or a block device");
  if (rest.length > 0) throw new UsageError(`give one image, not ${positionals.length}`);
  const options: { -readonly [name in keyof TrimCommandOptions["options"]]: number } = {};
  for (const name of ["start", "length", "minimum"] as const) {
    const text = values[name];
    if (text !== undefined) options[name] = byteSize(name, String(text), 0, SIZE_MAX);
  }
  return { image, options, json: values["json"] === true };
}
