/**
 * The headers of tar archives: ustar, the records of pax, GNU's long names and its sparse files.
 *
 * Names are bytes, as on a filesystem. Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header
 * Block"; the manual of GNU tar, "Tar Internals".
 */
import { HoldfastError } from "../../base/errors.ts";
import { PERMISSIONS } from "../mode-bits.ts";

export const TAR_BLOCK = 512;

/** Where fields lie in a header of 512 bytes. */
export const Field = {
  name: [0, 100],
  mode: [100, 8],
  uid: [108, 8],
  gid: [116, 8],
  size: [124, 12],
  modifyTime: [136, 12],
  checksum: [148, 8],
  type: [156, 1],
  linkName: [157, 100],
  magic: [257, 6],
  deviceMajor: [329, 8],
  deviceMinor: [337, 8],
  prefix: [345, 155],
} as const satisfies Record<string, readonly [at: number, size: number]>;

/** A header as it stands, before records of pax and long names change it. Numbers in decimal. */
export interface RawHeader {
  readonly type: string;
  readonly name: Buffer;
  readonly linkName: Buffer;
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly size: number;
  readonly modifyTime: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
}

/** Records of pax, by keyword. Values are bytes: they may be names. */
export type PaxRecords = ReadonlyMap<string, Buffer>;

/** Throws: EINVAL when these 512 bytes are no header. `at`: their place, for the error. */
export function parseHeader(bytes: Buffer, at: number): RawHeader {
  if (!isHeader(bytes)) throw damagedTar(at, "its checksum is wrong; the archive is damaged");
  const isPosix = text(bytes, Field.magic).toString("latin1") === "ustar";
  const prefix = isPosix ? text(bytes, Field.prefix) : Buffer.alloc(0);
  const name = text(bytes, Field.name);
  return {
    type: String.fromCharCode(bytes[Field.type[0]]!),
    name: prefix.length === 0 ? name : Buffer.concat([prefix, Buffer.from("/"), name]),
    linkName: text(bytes, Field.linkName),
    mode: readNumber(bytes, Field.mode, at) & PERMISSIONS,
    uid: readNumber(bytes, Field.uid, at),
    gid: readNumber(bytes, Field.gid, at),
    size: readNumber(bytes, Field.size, at),
    modifyTime: readNumber(bytes, Field.modifyTime, at),
    deviceMajor: readNumber(bytes, Field.deviceMajor, at),
    deviceMinor: readNumber(bytes, Field.deviceMinor, at),
  };
}

/** Whether 512 bytes have the checksum of a header. */
export function isHeader(bytes: Buffer): boolean {
  const digits = text(bytes, Field.checksum).toString("latin1").trim();
  return /^[0-7]+$/.test(digits) && Number.parseInt(digits, 8) === checksumOf(bytes);
}

/** The sum of a header's bytes, with spaces in place of the checksum. */
function checksumOf(bytes: Buffer): number {
  const [start, size] = Field.checksum;
  let sum = 0x20 * size;
  for (let index = 0; index < TAR_BLOCK; index++) {
    if (index < start || index >= start + size) sum += bytes[index]!;
  }
  return sum;
}

function text(bytes: Buffer, [at, size]: readonly [number, number]): Buffer {
  const field = bytes.subarray(at, at + size);
  const end = field.indexOf(0);
  return Buffer.from(end < 0 ? field : field.subarray(0, end));
}

/** Octal digits, or, where the first bit is set, base 256 with a sign. */
function readNumber(bytes: Buffer, field: readonly [number, number], header: number): number {
  const [at, size] = field;
  const first = bytes[at]!;
  if ((first & 0x80) !== 0) return readBinary(bytes.subarray(at, at + size), header);
  const digits = text(bytes, field).toString("latin1").trim();
  if (digits === "") return 0;
  if (!/^[0-7]+$/.test(digits)) throw damagedTar(header, `'${digits}' is no octal number`);
  return Number.parseInt(digits, 8);
}

function readBinary(bytes: Buffer, header: number): number {
  let value = BigInt(`0x${bytes.toString("hex")}`);
  const bits = BigInt(bytes.length * 8);
  // The first bit only says that the number is binary; the second is the sign.
  value = BigInt.asIntN(Number(bits) - 1, value);
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw damagedTar(header, `the number ${value} is too large`);
  return number;
}

/** Takes records apart: "length keyword=value\n", one after another. Later ones win. Throws: EINVAL. */
export function parsePax(bytes: Buffer, header: number): Map<string, Buffer> {
  const records = new Map<string, Buffer>();
  for (let at = 0; at < bytes.length; ) {
    const space = bytes.indexOf(0x20, at);
    const length = Number(bytes.subarray(at, space < 0 ? at : space).toString("latin1"));
    const equals = bytes.indexOf(0x3d, space);
    const end = at + length;
    const isSound = Number.isInteger(length) && end <= bytes.length && bytes[end - 1] === 0x0a;
    if (!isSound || space < at || equals < space || equals >= end) {
      throw damagedTar(header, "its records of pax cannot be read");
    }
    const keyword = bytes.subarray(space + 1, equals).toString("utf8");
    records.set(keyword, Buffer.from(bytes.subarray(equals + 1, end - 1)));
    at = end;
  }
  return records;
}

export function damagedTar(at: number, what: string): HoldfastError {
  return new HoldfastError(
    "EINVAL",
    `the header at byte ${at} of the archive cannot be used: ${what}`,
  );
}
