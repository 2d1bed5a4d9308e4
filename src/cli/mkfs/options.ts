/** The options of `holdfast mkfs`. */
import type { MkfsOptions } from "../../index.ts";
import {
  byteSize,
  type CommandSpec,
  JSON_RESULT,
  keyOf,
  type OptionValues,
  oneOf,
  readArguments,
  UsageError,
  wholeNumber,
} from "../usage.ts";

export interface MkfsCommandOptions {
  readonly path: string;
  readonly options: MkfsOptions;
  readonly json: boolean;
}

const SIZE_MAX = 2 ** 44;
const TIME_MAX = 2 ** 34 - 2 ** 31 - 1;
const QUOTA_KINDS = ["user", "group", "project"] as const;
const TYPES = ["ext2", "ext3", "ext4"] as const;

export const MKFS_SPEC: CommandSpec = {
  name: "mkfs",
  about: `Makes an ext2, ext3 or ext4 volume on an image file or a block device, as mke2fs would, without
needing it. A file that is not there is made; it is sparse, whatever its size.`,
  usage: ["[OPTIONS] IMAGE"],
  completes: "host path",
  options: [
    ["-t, --type <type>", TYPES.join(", "), "ext4"],
    ["-s, --size <bytes>", "such as 64M or 2T; auto: as --from needs", "what is there"],
    ["-b, --block-size <n>", "1024, 2048 or 4096", "by the size"],
    ["-L, --label <text>", "at most 16 bytes"],
    ["-U, --uuid <uuid>", "the volume's name for machines", "random"],
    [
      "-O, --features <list>",
      "changes of the type's: 64bit,^has_journal; may be repeated",
      null,
      "repeats",
    ],
    ["-J, --journal-size <bytes>", "1024 blocks at least", "by the size"],
    ["-N, --inodes <n>", "how many", "by --inode-ratio"],
    ["-i, --inode-ratio <bytes>", "of the volume for each inode", "by the size"],
    ["-I, --inode-size <bytes>", "a power of two, from 128", "256"],
    ["-m, --reserved <percent>", "blocks that only the superuser may use", "5"],
    ["--quotas <list>", "what -O quota counts: user,group,project", "by the features"],
    ["--hash-seed <uuid>", "seed of directory hashes", "random"],
    ["--time <seconds>", "when it is made; also SOURCE_DATE_EPOCH", "now"],
    ["-d, --from <dir|tar>", "what goes into it: a directory, or a tar archive"],
    ["-F, --force", "make it over whatever is there"],
    JSON_RESULT,
  ],
  notes: `What the target holds is kept, if it is recognised (or, in a file, is anything but zeroes at its
start), unless --force is given. A target that is mounted or otherwise in use is never touched.

With --uuid, --hash-seed and --time the same command makes the same bytes. What it makes, and where
that differs from mke2fs: docs/mkfs.md.`,
  examples: [
    "holdfast mkfs disk.img --size 64M",
    "holdfast mkfs disk.img -s 16T -t ext4 -L archive",
    "holdfast mkfs rootfs.img --from rootfs.tar           as large as it needs to be",
    "holdfast mkfs /dev/sdx1 -t ext3 -O ^resize_inode --force",
  ],
  exitCodes: "Exit codes: 0 made, 1 not made, 2 wrong usage.",
};

type Read<T> = (option: string, text: string) => T;

/** Reads the command line. `environment`: for SOURCE_DATE_EPOCH. Throws: UsageError. */
export function parseMkfsOptions(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): MkfsCommandOptions {
  const { values, positionals } = readArguments(args, MKFS_SPEC);
  const [path] = positionals;
  if (path === undefined || positionals.length > 1) {
    throw new UsageError("give one image file or block device; the size is an option, --size");
  }
  const given = <T>(name: string, read: Read<T>): T | undefined =>
    values[keyOf(name)] === undefined ? undefined : read(name, String(values[keyOf(name)]));
  const optional = {
    size: given("size", readSize),
    blockSize: given("block-size", bytesUpTo(4096)),
    label: given("label", (_, text) => text),
    uuid: given("uuid", readUuid),
    features: (values["features"] as string[] | undefined) ?? [],
    journalSize: given("journal-size", bytesUpTo(SIZE_MAX)),
    inodes: given("inodes", (name, text) => wholeNumber(name, text, 1, 2 ** 32 - 1)),
    inodeRatio: given("inode-ratio", bytesUpTo(SIZE_MAX)),
    inodeSize: given("inode-size", bytesUpTo(4096)),
    reservedPercent: given("reserved", readPercent),
    quotas: given("quotas", (name, text) =>
      text.split(",").map((kind) => oneOf(name, kind.trim(), QUOTA_KINDS)),
    ),
    hashSeed: given("hash-seed", readUuid),
    time: timeOf(values, environment),
    from: given("from", (_, text) => text),
  };
  return {
    path,
    options: {
      type: oneOf("type", String(values["type"] ?? "ext4"), TYPES),
      force: values["force"] === true,
      ...(Object.fromEntries(
        Object.entries({ ...optional, features: optional.features.join(",") }).filter(
          ([, value]) => value !== undefined,
        ),
      ) as MkfsOptions),
    },
    json: values["json"] === true,
  };
}

function readSize(option: string, text: string): number | "auto" {
  return text === "auto" ? text : byteSize(option, text, 4096, SIZE_MAX);
}

function bytesUpTo(most: number): Read<number> {
  return (option, text) => byteSize(option, text, 1, most);
}

function readUuid(option: string, text: string): string {
  if (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(text)) return text;
  throw new UsageError(`--${option} takes a uuid, 8-4-4-4-12 hexadecimal digits, not '${text}'`);
}

function readPercent(option: string, text: string): number {
  const value = /^\d+(\.\d+)?$/.test(text) ? Number(text) : Number.NaN;
  if (value >= 0 && value <= 50) return value;
  throw new UsageError(`--${option} takes a number from 0 to 50, not '${text}'`);
}

function timeOf(values: OptionValues, environment: NodeJS.ProcessEnv): number | undefined {
  if (values["time"] !== undefined) return wholeNumber("time", String(values["time"]), 0, TIME_MAX);
  const epoch = environment["SOURCE_DATE_EPOCH"];
  if (epoch === undefined || epoch === "") return undefined;
  const seconds = /^\d+$/.test(epoch) ? Number(epoch) : Number.NaN;
  if (seconds <= TIME_MAX) return seconds;
  throw new UsageError(`SOURCE_DATE_EPOCH is seconds since 1970, 0 to ${TIME_MAX}, not '${epoch}'`);
}
