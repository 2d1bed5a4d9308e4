/** A request as it was read, and the reply as it is built: two buffers, used for every request. */
import type { InodeInfo, Time } from "../iomap/contract.ts";
import { TYPE_BITS } from "../volume/stats.ts";
import {
  Attributes,
  ATTRIBUTES_SIZE,
  AttributesOut,
  ENTRY_SIZE,
  EntryOut,
  IN_HEADER_SIZE,
  InHeader,
  OUT_HEADER_SIZE,
  OutHeader,
  STATX_ALL,
  StatxOut,
} from "./protocol.ts";

/** Bytes that one READ or WRITE carries, at most. */
export const TRANSFER_BYTES_MAX = 2 ** 20;
/** What else a request has, at most: its header, structure and names. The kernel asks for a page more than `max_write`. */
const REQUEST_REST = 2 ** 16;

export class Request {
  readonly bytes = new Uint8Array(TRANSFER_BYTES_MAX + REQUEST_REST);
  readonly view = new DataView(this.bytes.buffer);
  opcode = 0;
  /** The inode that it is about, as the kernel names it. */
  node = 0;
  /** Who asks. */
  uid = 0;
  gid = 0;
  /** What tells it from all others, in two words. */
  uniqueLow = 0;
  uniqueHigh = 0;

  /** After a message was read into `bytes`. */
  parse(): void {
    const { view } = this;
    this.opcode = InHeader.opcode.get(view, 0);
    this.node = InHeader.node.get(view, 0);
    this.uid = InHeader.uid.get(view, 0);
    this.gid = InHeader.gid.get(view, 0);
    this.uniqueLow = InHeader.uniqueLow.get(view, 0);
    this.uniqueHigh = InHeader.uniqueHigh.get(view, 0);
  }

  /** The name that begins `at` bytes behind the header: valid until the next request. */
  nameAt(at: number): Uint8Array {
    const start = IN_HEADER_SIZE + at;
    return this.bytes.subarray(start, this.bytes.indexOf(0, start));
  }

  bytesAt(at: number, length: number): Uint8Array {
    return this.bytes.subarray(IN_HEADER_SIZE + at, IN_HEADER_SIZE + at + length);
  }

  /** A 64-bit signed number of seconds at a byte behind the header. */
  secondsAt(at: number): number {
    const place = IN_HEADER_SIZE + at;
    return this.view.getInt32(place + 4, true) * 2 ** 32 + this.view.getUint32(place, true);
  }
}

/** Where the operation's structure begins. */
export const BODY = IN_HEADER_SIZE;

/** How long the kernel may rely on what it was told, in seconds. */
export interface Validity {
  readonly entry: number;
  readonly attributes: number;
}

export class Reply {
  readonly bytes = new Uint8Array(OUT_HEADER_SIZE + TRANSFER_BYTES_MAX + REQUEST_REST);
  readonly view = new DataView(this.bytes.buffer);

  /** Where the answer begins, behind the header. */
  readonly body = OUT_HEADER_SIZE;

  /** Makes it the reply to `request`: `length` bytes of answer, or an error (positive). Returns its bytes. */
  finish(request: Request, errno: number, length: number): number {
    const { view } = this;
    const whole = OUT_HEADER_SIZE + (errno === 0 ? length : 0);
    OutHeader.length.set(view, 0, whole);
    OutHeader.error.set(view, 0, -errno);
    OutHeader.uniqueLow.set(view, 0, request.uniqueLow);
    OutHeader.uniqueHigh.set(view, 0, request.uniqueHigh);
    return whole;
  }

  clear(at: number, length: number): void {
    this.bytes.fill(0, at, at + length);
  }

  /** struct fuse_entry_out at byte `at`; node 0: there is no such name. */
  entry(
    at: number,
    node: number,
    info: InodeInfo | null,
    blockSize: number,
    valid: Validity,
  ): void {
    const { view } = this;
    this.clear(at, ENTRY_SIZE);
    EntryOut.node.set(view, at, node);
    EntryOut.entryValid.set(view, at, valid.entry);
    if (info === null) return;
    EntryOut.generation.set(view, at, info.generation >>> 0);
    EntryOut.attributesValid.set(view, at, valid.attributes);
    writeAttributes(view, at + EntryOut.attributes.offset, info, blockSize);
  }

  /** struct fuse_attr_out as the answer. Returns its size. */
  attributes(info: InodeInfo, blockSize: number, valid: Validity): number {
    const { view, body } = this;
    const { size } = AttributesOut.structure;
    this.clear(body, size - ATTRIBUTES_SIZE);
    AttributesOut.valid.set(view, body, valid.attributes);
    writeAttributes(view, body + AttributesOut.attributes.offset, info, blockSize);
    return size;
  }
}

/** struct fuse_statx_out at byte `at`. */
export function writeStatx(
  view: DataView,
  at: number,
  info: InodeInfo,
  blockSize: number,
  valid: Validity,
): void {
  StatxOut.valid.set(view, at, valid.attributes);
  StatxOut.mask.set(view, at, STATX_ALL);
  StatxOut.blockSize.set(view, at, blockSize);
  StatxOut.links.set(view, at, info.linkCount);
  StatxOut.uid.set(view, at, info.uid);
  StatxOut.gid.set(view, at, info.gid);
  StatxOut.mode.set(view, at, TYPE_BITS[info.type] | info.mode);
  StatxOut.ino.set(view, at, info.ino);
  StatxOut.size.set(view, at, info.size);
  StatxOut.blocks.set(view, at, info.sectors);
  for (const [field, time] of [
    [StatxOut.atime, info.accessTime],
    [StatxOut.btime, info.birthTime],
    [StatxOut.ctime, info.changeTime],
    [StatxOut.mtime, info.modifyTime],
  ] as const) {
    setSeconds(view, at + field.offset, time);
    view.setUint32(at + field.offset + 8, time.nanoseconds, true);
  }
  StatxOut.deviceMajor.set(view, at, info.deviceMajor);
  StatxOut.deviceMinor.set(view, at, info.deviceMinor);
}

function writeAttributes(view: DataView, at: number, info: InodeInfo, blockSize: number): void {
  Attributes.ino.set(view, at, info.ino);
  Attributes.size.set(view, at, info.size);
  Attributes.blocks.set(view, at, info.sectors);
  setSeconds(view, at + Attributes.atime.offset, info.accessTime);
  setSeconds(view, at + Attributes.mtime.offset, info.modifyTime);
  setSeconds(view, at + Attributes.ctime.offset, info.changeTime);
  Attributes.atimeNanoseconds.set(view, at, info.accessTime.nanoseconds);
  Attributes.mtimeNanoseconds.set(view, at, info.modifyTime.nanoseconds);
  Attributes.ctimeNanoseconds.set(view, at, info.changeTime.nanoseconds);
  Attributes.mode.set(view, at, TYPE_BITS[info.type] | info.mode);
  Attributes.links.set(view, at, info.linkCount);
  Attributes.uid.set(view, at, info.uid);
  Attributes.gid.set(view, at, info.gid);
  Attributes.device.set(view, at, encodeDevice(info.deviceMajor, info.deviceMinor));
  Attributes.blockSize.set(view, at, blockSize);
  Attributes.flags.set(view, at, 0);
}

function setSeconds(view: DataView, at: number, { seconds }: Time): void {
  view.setUint32(at, seconds >>> 0, true);
  view.setInt32(at + 4, Math.floor(seconds / 2 ** 32), true);
}

/** A device's number in 32 bits, as the kernel passes it: 12 bits of major, 20 of minor. */
function encodeDevice(major: number, minor: number): number {
  return ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
}

export function decodeDevice(device: number): { deviceMajor: number; deviceMinor: number } {
  return {
    deviceMajor: (device & 0xf_ff00) >> 8,
    deviceMinor: (device & 0xff) | ((device >>> 12) & 0xf_ff00),
  };
}
