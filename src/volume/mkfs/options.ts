/** What `mkfs` takes, checked. */
import { randomUUID } from "node:crypto";
import {
  EXT_TYPES,
  type ExtType,
  QUOTA_KINDS,
  type QuotaKind,
  type VolumeRequest,
} from "../../drivers/ext/index.ts";
import { checkInteger, checkPath, pathText, wrongType, wrongValue } from "../arguments.ts";

export interface MkfsOptions {
  /** Default "ext4". */
  readonly type?: ExtType;
  /**
   * Bytes of the volume. A file becomes as large; of a block device it may be a part. Default: what is
   * there, or "auto": with `from`, large enough for what it holds.
   */
  readonly size?: number | "auto";
  /** 1024, 2048 or 4096. Default by the size, as of mke2fs. */
  readonly blockSize?: number;
  /** At most 16 bytes of UTF-8. */
  readonly label?: string;
  /** Default: a random one. */
  readonly uuid?: string;
  /** Changes of the type's features by mke2fs's names, such as "^has_journal": a list, or one string with commas. */
  readonly features?: string | readonly string[];
  /** Bytes. Default by the size. */
  readonly journalSize?: number;
  /** How many inodes, or bytes of the volume for each. Default by the size. */
  readonly inodes?: number;
  readonly inodeRatio?: number;
  /** Bytes of one: a power of two from 128. Default 256. */
  readonly inodeSize?: number;
  /** Part of the blocks that only the superuser may use, 0 to 50. Default 5. */
  readonly reservedPercent?: number;
  /**
   * Whose use of space a volume with the feature quota counts. Default: of users and groups, and of projects where it has
   * their feature.
   */
  readonly quotas?: readonly QuotaKind[];
  /** Seed of directory hashes, written as a uuid. Default: a random one. */
  readonly hashSeed?: string;
  /** When it is made: whole seconds since 1970, or a Date. Default: now. */
  readonly time?: number | Date;
  /** A directory or tar archive whose contents go into the new volume. */
  readonly from?: string | Uint8Array;
  /** Make the volume over whatever is there. Default false: what is recognised is kept. */
  readonly force?: boolean;
  /** Told now and then how far it is. */
  readonly onProgress?: (progress: MkfsProgress) => void;
  /** Ends it between two steps; a file that it made is removed. Only of `mkfs`. */
  readonly signal?: AbortSignal;
}

/** How far `mkfs` is. */
export interface MkfsProgress {
  readonly step: "formatting" | "filling";
  /** Groups of the volume, or bytes of files. */
  readonly done: number;
  readonly total: number;
  /** The file that is being copied; "" otherwise. */
  readonly path: string;
}

/** The options, checked; the volume's size is still open. */
export interface CheckedOptions {
  readonly path: string;
  readonly size: number | "auto" | null;
  readonly force: boolean;
  readonly from: string | null;
  /** Whole seconds. */
  readonly time: number;
  readonly request: Omit<VolumeRequest, "bytes">;
}

/** Times end where 34 bits of an inode's do. */
const TIME_MAX = 2 ** 34 - 2 ** 31 - 1;
const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;

/** Throws: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE, ERR_OUT_OF_RANGE naming the option. */
export function checkMkfsOptions(path: unknown, options: MkfsOptions): CheckedOptions {
  checkPath("path", path);
  if (typeof options !== "object" || options === null) {
    throw wrongType("options", "an object", options);
  }
  const { type = "ext4", size, from } = options;
  if (!EXT_TYPES.includes(type)) {
    throw wrongValue("options.type", `must be ${EXT_TYPES.join(" or ")}`, type);
  }
  if (size !== undefined && size !== "auto") checkInteger("options.size", size, 1);
  if (from !== undefined) checkPath("options.from", from);
  if (size === "auto" && from === undefined) {
    throw wrongValue("options.size", "can be 'auto' only with options.from", size);
  }
  const time = checkSeconds(options.time);
  return {
    path: pathText(path),
    size: size ?? null,
    force: options.force ?? false,
    from: from === undefined ? null : pathText(from),
    time,
    request: {
      type,
      blockSize: optionalInteger("blockSize", options.blockSize),
      label: checkText("label", options.label),
      uuid: checkUuid("uuid", options.uuid),
      features: featureList(options.features),
      journalSize: optionalInteger("journalSize", options.journalSize),
      inodes: optionalInteger("inodes", options.inodes),
      inodeRatio: optionalInteger("inodeRatio", options.inodeRatio),
      inodeSize: optionalInteger("inodeSize", options.inodeSize),
      reservedPercent: checkNumber("reservedPercent", options.reservedPercent),
      quotaKinds: checkQuotas(options.quotas),
      hashSeed: checkUuid("hashSeed", options.hashSeed),
      time,
    },
  };
}

function optionalInteger(name: string, value: unknown): number | undefined {
  return value === undefined ? undefined : checkInteger(`options.${name}`, value, 1);
}

function checkNumber(name: string, value: unknown): number | undefined {
  if (value === undefined || (typeof value === "number" && !Number.isNaN(value))) return value;
  throw wrongType(`options.${name}`, "a number", value);
}

function checkText(name: string, value: unknown): string | undefined {
  if (value === undefined || typeof value === "string") return value;
  throw wrongType(`options.${name}`, "a string", value);
}

function checkUuid(name: string, value: unknown): Uint8Array {
  const text = value ?? randomUUID();
  if (typeof text !== "string") throw wrongType(`options.${name}`, "a string", value);
  if (!UUID.test(text)) throw wrongValue(`options.${name}`, "must be a uuid", value);
  return Uint8Array.from(Buffer.from(text.replaceAll("-", ""), "hex"));
}

function featureList(value: unknown): readonly string[] {
  if (value === undefined) return [];
  const list = typeof value === "string" ? value.split(",") : value;
  if (!Array.isArray(list) || !list.every((each) => typeof each === "string")) {
    throw wrongType("options.features", "a string or an array of strings", value);
  }
  return list.map((each) => each.trim()).filter((each) => each !== "");
}

function checkQuotas(value: unknown): readonly QuotaKind[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) throw wrongType("options.quotas", "an array", value);
  for (const kind of value) {
    if (QUOTA_KINDS.includes(kind)) continue;
    throw wrongValue("options.quotas", `must be of ${QUOTA_KINDS.join(", ")}`, kind);
  }
  return value;
}

function checkSeconds(value: unknown): number {
  if (value === undefined) return Math.floor(Date.now() / 1000);
  const seconds = value instanceof Date ? Math.floor(value.getTime() / 1000) : value;
  return checkInteger("options.time", seconds, 0, TIME_MAX);
}
