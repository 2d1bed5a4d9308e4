/** The options of `holdfast resize`. */
import {
  type CommandSpec,
  JSON_RESULT,
  readArguments,
  sizeArgument,
  UsageError,
} from "../usage.ts";

export interface ResizeCommandOptions {
  readonly image: string;
  /** Bytes; undefined: all that the device has. */
  readonly size: number | undefined;
  readonly json: boolean;
}

const SIZE_MAX = 2 ** 44;

export const RESIZE_SPEC: CommandSpec = {
  name: "resize",
  about: `Makes an ext2, ext3 or ext4 volume larger: an image file, to the size given; a block device's
volume, to the device's end, or less. What lies in it stays where it is.`,
  usage: ["[OPTIONS] IMAGE [SIZE]"],
  completes: "image",
  options: [JSON_RESULT],
  notes: `IMAGE is an image file or a block device that is not mounted by anybody else: it is mounted by this
command while it grows. SIZE is in bytes, or as in 64M, 20G or 2T; without it the volume gets all
that its image or device has. A program that has the volume mounted calls Volume.grow() itself.

An image file grows with a hole, and takes storage as it is used. Volumes are not made smaller.
Ended by Ctrl-C, or by a crash, the volume is whole and has a size on the way; run it again.`,
  examples: [
    "holdfast resize disk.img 20G",
    "holdfast resize /dev/vdb",
    "holdfast resize --json disk.img 1T | jq .size",
  ],
  exitCodes: "Exit codes: 0 the volume has the size; 1 it has not, and why is said; 2 wrong usage.",
};

/** Throws: UsageError. */
export function parseResizeOptions(args: readonly string[]): ResizeCommandOptions {
  const { values, positionals } = readArguments(args, RESIZE_SPEC);
  const [image, size, ...rest] = positionals;
  if (image === undefined) throw new UsageError("give an image file or a block device");
  if (rest.length > 0) throw new UsageError("give one image, and one size");
  return {
    image,
    size: size === undefined ? undefined : sizeArgument("SIZE", size, 4096, SIZE_MAX),
    json: values["json"] === true,
  };
}
