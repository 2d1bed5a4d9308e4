/** The options of `holdfast mkfs`. */
import type { MkfsOptions } from "../../index.ts";
import {
  byteSize,
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

const OPTION_ROWS: readonly (readonly [option: string, meaning: string, byDefault?: string])[] = [
  ["-t, --type TYPE", TYPES.join(", "), "ext4"],
  ["-s, --size BYTES", "such as 64M or 2T; auto: as --from needs", "what is there"],
  ["-b, --block-size N", "1024, 2048 or 4096", "by the size"],
  ["-L, --label TEXT", "at most 16 bytes"],
  ["-U, --uuid UUID", "the volume's name for machines", "random"],
  ["-O, --features LIST", "changes of the type's: 64bit,^has_journal"],
  ["-J, --journal-size BYTES", "1024 blocks at least", "by the size"],
  ["-N, --inodes N", "how many", "by --inode-ratio"],
  ["-i, --inode-ratio BYTES", "of the volume for each inode", "by the size"],
  ["-I, --inode-size BYTES", "a power of two, from 128", "256"],
  ["-m, --reserved PERCENT", "blocks that only the superuser may use", "5"],
  ["--quotas LIST", "what -O quota counts: user,group,project", "by the features"],
  ["--hash-seed UUID", "seed of directory hashes", "random"],
  ["--time SECONDS", "when it is made; also SOURCE_DATE_EPOCH", "now"],
  ["-d, --from DIR|TAR", "what goes into it: a directory, or a tar archive"],
  ["-F, --force", "make it over whatever is there"],
  ["--json", "print the result as one line of JSON"],
  ["--help", "this text"],
];

function optionLine([option, meaning, byDefault]: (typeof OPTION_ROWS)[number]): string {
  const line = `  ${option.padEnd(25)} ${meaning}`;
  return byDefault === undefined ? line.trimEnd() : `${line.padEnd(72)} (${byDefault})`;
}

export const MKFS_HELP = `Makes an ext2, ext3 or ext4 volume on an image file or a block device, as mke2fs would, without
needing it. A file that is not there is made; it is sparse, whatever its size.

Usage: holdfast mkfs [OPTIONS] IMAGE

Options:
${OPTION_ROWS.map(optionLine).join("\n")}

What the target holds is kept, if it is recognised (or, in a file, is anything but zeroes at its
start), unless --force is given. A target that is mounted or otherwise in use is never touched.

With --uuid, --hash-seed and --time the same command makes the same bytes.

Examples:
  holdfast mkfs disk.img --size 64M
  holdfast mkfs disk.img -s 16T -t ext4 -L archive
  holdfast mkfs rootfs.img --from rootfs.tar           as large as it needs to be
  holdfast mkfs /dev/sdx1 -t ext3 -O ^resize_inode --force

What it makes, and where that differs from mke2fs: docs/mkfs.md.

Exit codes: 0 made, 1 not made, 2 wrong usage.`;

const TABLE = {
  type: { type: "string", short: "t", default: "ext4" },
  size: { type: "string", short: "s" },
  "block-size": { type: "string", short: "b" },
  label: { type: "string", short: "L" },
  uuid: { type: "string", short: "U" },
  features: { type: "string", short: "O", multiple: true, default: [] as string[] },
  "journal-size": { type: "string", short: "J" },
  inodes: { type: "string", short: "N" },
  "inode-ratio": { type: "string", short: "i" },
  "inode-size": { type: "string", short: "I" },
  reserved: { type: "string", short: "m" },
  quotas: { type: "string" },
  "hash-seed": { type: "string" },
  time: { type: "string" },
  from: { type: "string", short: "d" },
  force: { type: "boolean", short: "F", default: false },
  json: { type: "boolean", default: false },
} as const;

type Read<T> = (option: string, text: string) => T;

/** Reads the command line. `environment`: for SOURCE_DATE_EPOCH. Throws: UsageError. */
export function parseMkfsOptions(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
): MkfsCommandOptions {
  const { values, positionals } = readArguments(args, TABLE);
  const [path] = positionals;
  if (path === undefined || positionals.length > 1) {
    throw new UsageError("give one image file or block device; the size is an option, --size");
  }
  const given = <T>(name: string, read: Read<T>): T | undefined =>
    values[name] === undefined ? undefined : read(name, String(values[name]));
  const optional = {
    size: given("size", readSize),
    blockSize: given("block-size", bytesUpTo(4096)),
    label: given("label", (_, text) => text),
    uuid: given("uuid", readUuid),
    features: values["features"] as unknown as string[],
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
      type: oneOf("type", String(values["type"]), TYPES),
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
