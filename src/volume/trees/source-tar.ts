/**
 * A tar archive as a source: ustar and pax, with GNU's long names, numbers and sparse files. What has no
 * entry of its own on the way to a file is the filler's to make.
 */
import { closeSync, fstatSync, openSync, readSync, type Stats } from "node:fs";
import { HoldfastError, openError } from "../../base/errors.ts";
import type { ByteRun, HostAttribute } from "../../device/index.ts";
import { ATTRIBUTE_NAME_BYTES_MAX, type FileType, type Time } from "../../iomap/contract.ts";
import { nameText, type Source, type SourceEntry } from "./source.ts";
import {
  damagedTar,
  isHeader,
  type PaxRecords,
  parseHeader,
  parsePax,
  type RawHeader,
  TAR_BLOCK,
} from "./tar-headers.ts";
import { oldSparseMap, readSparseMap, type SparseMap } from "./tar-sparse.ts";

const TYPES: Readonly<Record<string, FileType>> = {
  "0": "file",
  "\0": "file",
  "7": "file",
  S: "file",
  "1": "file", // of a link: whatever it leads to
  "2": "symlink",
  "3": "character-device",
  "4": "block-device",
  "5": "directory",
  D: "directory",
  "6": "fifo",
};
/** A volume's label: it names nothing. */
const TYPES_PASSED = ["V"];
/** Keywords of extended attributes, whose rest is a name: values as they are, or names and values encoded. */
const ATTRIBUTE_PLAIN = "SCHILY.xattr.";
const ATTRIBUTE_ENCODED = "LIBARCHIVE.xattr.";
/** Records of pax, and long names: no archive needs more. */
const RECORDS_BYTES_MAX = 2 ** 24;

const COMPRESSED: readonly (readonly [magic: string, program: string])[] = [
  ["1f8b", "gzip"],
  ["28b52ffd", "zstd"],
  ["fd377a585a00", "xz"],
  ["425a68", "bzip2"],
];

/** Bytes of a file, and where the archive has them. */
interface Segment extends ByteRun {
  readonly archiveAt: number;
}

/** What was said of the next entry ahead of it. */
interface Ahead {
  pax: PaxRecords;
  longName: Buffer | null;
  longLinkName: Buffer | null;
}

export class TarSource implements Source {
  readonly path: string;
  readonly #fd: number;
  readonly #size: number;
  #segments: readonly Segment[] = [];

  /** Throws: EINVAL for a compressed archive, or none at all; ENOENT, EACCES. */
  constructor(path: string) {
    this.path = path;
    try {
      this.#fd = openSync(path, "r");
    } catch (error) {
      throw openError(error, path);
    }
    try {
      const stats = fstatSync(this.#fd);
      this.#size = stats.size;
      this.#assertPlain(stats);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  #assertPlain(stats: Stats): void {
    const what = stats.isFile() ? this.#whyUnreadable() : "is no file, and no tar archive";
    if (what === null) return;
    throw new HoldfastError("EINVAL", `'${this.path}' ${what}`, { path: this.path });
  }

  #whyUnreadable(): string | null {
    const start = this.#bytes(0, Math.min(TAR_BLOCK, this.#size));
    const hex = start.subarray(0, 8).toString("hex");
    const found = COMPRESSED.find(([magic]) => hex.startsWith(magic));
    if (found !== undefined) {
      return `is compressed by ${found[1]}; give what '${found[1]} -dc' makes of it`;
    }
    if (start.length === TAR_BLOCK && (start.every((byte) => byte === 0) || isHeader(start))) {
      return null;
    }
    return "is neither a directory nor a tar archive";
  }

  *entries(): Iterable<SourceEntry> {
    const global = new Map<string, Buffer>();
    let ahead: Ahead = { pax: global, longName: null, longLinkName: null };
    for (let at = 0; at < this.#size; ) {
      const block = this.#bytes(at, TAR_BLOCK);
      if (block.every((byte) => byte === 0)) return;
      const header = parseHeader(block, at);
      const dataAt = at + TAR_BLOCK;
      const size = sizeOf(header, ahead.pax, at);
      const place = { dataAt, size };
      at = dataAt + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
      if (this.#readAhead(header, place, ahead, global)) continue;
      const found = this.#entryOf(header, place, ahead, dataAt - TAR_BLOCK);
      ahead = { pax: new Map(global), longName: null, longLinkName: null };
      if (found === null) continue;
      at = found.archiveEnd ?? at;
      yield found.entry;
    }
  }

  /** Takes a header that only says something of the next one. Returns whether it was such. */
  #readAhead(
    { type }: RawHeader,
    { dataAt, size }: { dataAt: number; size: number },
    ahead: Ahead,
    global: Map<string, Buffer>,
  ): boolean {
    if (!"xgLK".includes(type)) return false;
    const at = dataAt - TAR_BLOCK;
    if (size > RECORDS_BYTES_MAX) throw damagedTar(at, `its records have ${size} bytes`);
    const data = this.#bytes(dataAt, size);
    if (type === "L" || type === "K") {
      const end = data.indexOf(0);
      const name = end < 0 ? data : data.subarray(0, end);
      if (type === "L") ahead.longName = name;
      else ahead.longLinkName = name;
      return true;
    }
    const records = parsePax(data, at);
    if (type === "g") for (const [keyword, value] of records) global.set(keyword, value);
    ahead.pax = new Map([...ahead.pax, ...records]);
    return true;
  }

  #entryOf(
    header: RawHeader,
    place: { readonly dataAt: number; readonly size: number },
    { pax, longName, longLinkName }: Ahead,
    at: number,
  ): { readonly entry: SourceEntry; readonly archiveEnd: number | null } | null {
    if (TYPES_PASSED.includes(header.type)) return null;
    const name = pax.get("GNU.sparse.name") ?? pax.get("path") ?? longName ?? header.name;
    const isOldDirectory = "0\0".includes(header.type) && name.at(-1) === 0x2f;
    const type = isOldDirectory ? "directory" : TYPES[header.type];
    if (type === undefined) throw damagedTar(at, `its type '${header.type}' is not known`);
    const names = namesOf(name, at);
    const isLink = header.type === "1";
    const linkName = pax.get("linkpath") ?? longLinkName ?? header.linkName;
    const sparse = type === "file" && !isLink ? this.#sparseMap(header, place, pax, at) : null;
    const map = sparse ?? plainMap(type === "file" && !isLink ? place : { dataAt: 0, size: 0 });
    this.#segments = segmentsOf(map, this.#size, at);
    const modifyTime = timeOf(pax.get("mtime"), header.modifyTime, at);
    const entry: SourceEntry = {
      names,
      type,
      mode: header.mode,
      uid: numberOf(pax.get("uid"), header.uid, at),
      gid: numberOf(pax.get("gid"), header.gid, at),
      accessTime: pax.has("atime") ? timeOf(pax.get("atime"), 0, at) : modifyTime,
      modifyTime,
      size: map.size,
      deviceMajor: header.deviceMajor,
      deviceMinor: header.deviceMinor,
      target: type === "symlink" ? linkName : null,
      linkTo: isLink ? namesOf(linkName, at) : null,
      data: this.#segments,
      attributes: attributesOf(pax, at),
    };
    return { entry, archiveEnd: header.type === "S" ? map.archiveEnd : null };
  }

  #sparseMap(
    header: RawHeader,
    { dataAt, size }: { readonly dataAt: number; readonly size: number },
    pax: PaxRecords,
    at: number,
  ): SparseMap | null {
    const read = (from: number, length: number): Buffer => this.#bytes(from, length);
    if (header.type === "S") return oldSparseMap(read, at, size);
    return readSparseMap(read, pax, { dataAt, size }, at);
  }

  read(at: number, target: Uint8Array): number {
    for (const { start, length, archiveAt } of this.#segments) {
      if (at < start || at >= start + length) continue;
      const count = Math.min(target.length, start + length - at);
      const bytes = this.#bytes(archiveAt + (at - start), count);
      target.set(bytes);
      return bytes.length;
    }
    return 0;
  }

  /** Throws: EINVAL when the archive ends before. */
  #bytes(at: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    for (let done = 0; done < length; ) {
      const count = readSync(this.#fd, bytes, done, length - done, at + done);
      if (count === 0) throw damagedTar(at, "the archive ends too early");
      done += count;
    }
    return bytes;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

function plainMap({ dataAt, size }: { readonly dataAt: number; readonly size: number }): SparseMap {
  const runs = size === 0 ? [] : [{ start: 0, length: size }];
  return { size, runs, dataAt, archiveEnd: dataAt + size };
}

/** The data of the runs lies together, in their order. Throws: EINVAL where they overlap, or leave the archive. */
function segmentsOf(map: SparseMap, archiveSize: number, at: number): Segment[] {
  let archiveAt = map.dataAt;
  let end = 0;
  const segments: Segment[] = [];
  for (const { start, length } of map.runs) {
    if (start < end || start + length > map.size) {
      throw damagedTar(at, "the parts of its sparse file overlap or leave it");
    }
    if (length > 0) segments.push({ start, length, archiveAt });
    archiveAt += length;
    end = start + length;
  }
  if (archiveAt > archiveSize) throw damagedTar(at, "the archive ends before its file");
  return segments;
}

/** Bytes of data behind a header. What has no data may name a size all the same. */
function sizeOf(header: RawHeader, pax: PaxRecords, at: number): number {
  if ("2346".includes(header.type)) return 0;
  const size = numberOf(
    "xgLK".includes(header.type) ? undefined : pax.get("size"),
    header.size,
    at,
  );
  if (size >= 0) return size;
  throw damagedTar(at, `its size is ${size}`);
}

function numberOf(record: Buffer | undefined, otherwise: number, at: number): number {
  if (record === undefined) return otherwise;
  const value = Number(record.toString("latin1"));
  if (Number.isSafeInteger(value)) return value;
  throw damagedTar(at, `'${record.toString("latin1")}' is no number`);
}

/**
 * The extended attributes among records of pax. Where an archive has one in both of the forms, it is one.
 * Throws: EINVAL for a name that no attribute has.
 */
function attributesOf(pax: PaxRecords, at: number): HostAttribute[] {
  const values = new Map<string, Buffer>();
  for (const [keyword, value] of pax) {
    if (!keyword.startsWith(ATTRIBUTE_ENCODED)) continue;
    const name = decodedName(keyword.slice(ATTRIBUTE_ENCODED.length), at);
    values.set(name, Buffer.from(value.toString("latin1"), "base64"));
  }
  for (const [keyword, value] of pax) {
    if (keyword.startsWith(ATTRIBUTE_PLAIN))
      values.set(keyword.slice(ATTRIBUTE_PLAIN.length), value);
  }
  return [...values].map(([text, value]) => {
    const name = Buffer.from(text, "utf8");
    if (name.length > 0 && name.length <= ATTRIBUTE_NAME_BYTES_MAX) return { name, value };
    throw damagedTar(at, `an extended attribute has a name of ${name.length} bytes`);
  });
}

function decodedName(encoded: string, at: number): string {
  try {
    return decodeURIComponent(encoded);
  } catch {
    throw damagedTar(at, `'${encoded}' is no name of an extended attribute`);
  }
}

/** Decimal seconds, with a fraction or without. */
function timeOf(record: Buffer | undefined, otherwise: number, at: number): Time {
  if (record === undefined) return { seconds: otherwise, nanoseconds: 0 };
  const match = /^(-?)(\d+)(?:\.(\d*))?$/.exec(record.toString("latin1"));
  if (match === null) throw damagedTar(at, `'${record.toString("latin1")}' is no time`);
  const seconds = Number(match[2]);
  const nanoseconds = Number((match[3] ?? "").padEnd(9, "0").slice(0, 9));
  if (match[1] === "") return { seconds, nanoseconds };
  if (nanoseconds === 0) return { seconds: 0 - seconds, nanoseconds: 0 };
  return { seconds: -seconds - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}

/** The names between slashes, without "." and empty ones. Throws: EINVAL for "..": it would leave the root. */
function namesOf(path: Uint8Array, at: number): Uint8Array[] {
  const names: Uint8Array[] = [];
  let start = 0;
  for (let index = 0; index <= path.length; index++) {
    if (index < path.length && path[index] !== 0x2f) continue;
    const name = path.subarray(start, index);
    start = index + 1;
    const shown = Buffer.from(name).toString("latin1");
    if (shown === "" || shown === ".") continue;
    if (shown === "..") throw damagedTar(at, `'${nameText([path])}' goes up, out of the volume`);
    names.push(name);
  }
  return names;
}
