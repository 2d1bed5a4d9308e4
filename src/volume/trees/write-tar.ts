/**
 * Writes what a source has as a tar archive: ustar, with records of pax for what its fields have no room for, and
 * sparse files as GNU tar's version 1.0. Names are bytes.
 *
 * Source: POSIX.1-2017, pax, "ustar Interchange Format" and "pax Header Block"; the manual of GNU tar, "Storing Sparse
 * Files".
 */
import { HoldfastError } from "../../base/errors.ts";
import type { ByteRun } from "../../device/index.ts";
import type { FileType, Time } from "../../iomap/contract.ts";
import type { MkfsProgress } from "../mkfs/options.ts";
import { nameText, type OnError, type Source, type SourceEntry, tellOrThrow } from "./source.ts";
import { Field, TAR_BLOCK } from "./tar-headers.ts";

export interface TarOptions {
  /** Takes the archive's bytes, one piece after the other; it keeps none. */
  readonly write: (bytes: Uint8Array) => void;
  readonly bytesTotal: number;
  readonly onError: OnError;
}

const PIECE_BYTES = 2 ** 20;
/** Archives are whole records of so many bytes. */
const RECORD_BYTES = 20 * TAR_BLOCK;
const NAME_BYTES_MAX = Field.name[1];
const TYPE_LETTERS: Readonly<Record<FileType, string | null>> = {
  file: "0",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
  socket: null,
};

type Records = (readonly [keyword: string, value: Uint8Array | string])[];

export class TarWriter {
  readonly #source: Source;
  readonly #options: TarOptions;
  readonly #piece = new Uint8Array(PIECE_BYTES);
  #written = 0;
  #bytes = 0;

  constructor(source: Source, options: TarOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Throws: what the source and `write` throw. */
  *run(): Generator<MkfsProgress, void> {
    for (const entry of this.#source.entries()) {
      const path = nameText(entry.names);
      yield this.#progress(path);
      if (TYPE_LETTERS[entry.type] === null) {
        const error = new HoldfastError("EOPNOTSUPP", "is a socket, which archives have none of");
        tellOrThrow(this.#options.onError, error, path);
      } else yield* this.#add(entry, path);
    }
    this.#write(Buffer.alloc(2 * TAR_BLOCK));
    const rest = this.#written % RECORD_BYTES;
    if (rest > 0) this.#write(Buffer.alloc(RECORD_BYTES - rest));
  }

  #progress(path: string): MkfsProgress {
    return { step: "filling", done: this.#bytes, total: this.#options.bytesTotal, path };
  }

  #write(bytes: Uint8Array): void {
    this.#options.write(bytes);
    this.#written += bytes.length;
  }

  *#add(entry: SourceEntry, path: string): Generator<MkfsProgress, void> {
    const isData = entry.type === "file" && entry.linkTo === null;
    const map = isData && isSparse(entry) ? sparseMap(entry) : null;
    const dataBytes = entry.data.reduce((sum, { length }) => sum + length, 0);
    const size = isData ? (map === null ? entry.size : map.length + dataBytes) : 0;
    const name = namesAsPath(entry);
    const records = recordsOf(entry, name, size, map !== null);
    if (records.length > 0) this.#writeRecords(records, entry);
    this.#write(headerOf(entry, { name, size, type: typeOf(entry) }));
    if (map !== null) this.#write(map);
    const runs = map === null && isData ? wholeFile(entry) : entry.data;
    if (isData) for (const run of runs) yield* this.#copy(run, path);
    const rest = size % TAR_BLOCK;
    if (rest > 0) this.#write(Buffer.alloc(TAR_BLOCK - rest));
  }

  #writeRecords(records: Records, entry: SourceEntry): void {
    const bytes = paxBytes(records);
    this.#write(headerOf(entry, { name: Buffer.from("PaxHeader"), size: bytes.length, type: "x" }));
    this.#write(bytes);
    const rest = bytes.length % TAR_BLOCK;
    if (rest > 0) this.#write(Buffer.alloc(TAR_BLOCK - rest));
  }

  /** What the source has no more of is zeroes: the header has promised it. */
  *#copy({ start, length }: ByteRun, path: string): Generator<MkfsProgress, void> {
    for (let done = 0; done < length; ) {
      const wanted = this.#piece.subarray(0, Math.min(PIECE_BYTES, length - done));
      const count = this.#source.read(start + done, wanted);
      if (count === 0) wanted.fill(0);
      const bytes = count === 0 ? wanted : wanted.subarray(0, count);
      this.#write(bytes);
      done += bytes.length;
      this.#bytes += count;
      yield this.#progress(path);
    }
  }
}

function typeOf({ type, linkTo }: SourceEntry): string {
  return linkTo === null ? TYPE_LETTERS[type]! : "1";
}

/** A file has holes where its parts are not the whole of it, and that saves a block at least. */
function isSparse({ data, size }: SourceEntry): boolean {
  return size - data.reduce((sum, { length }) => sum + length, 0) >= 2 * TAR_BLOCK;
}

function wholeFile({ size }: SourceEntry): ByteRun[] {
  return size === 0 ? [] : [{ start: 0, length: size }];
}

/** The map of version 1.0: how many parts, and where each begins and how long it is; whole blocks. */
function sparseMap({ data, size }: SourceEntry): Buffer {
  // As GNU tar, where the file ends with a hole: a part of no bytes says where that is.
  const last = data.at(-1);
  const endsInHole = last === undefined || last.start + last.length < size;
  const runs = endsInHole ? [...data, { start: size, length: 0 }] : data;
  const numbers = [runs.length, ...runs.flatMap(({ start, length }) => [start, length])];
  const text = Buffer.from(`${numbers.join("\n")}\n`);
  return Buffer.concat([text, Buffer.alloc((TAR_BLOCK - (text.length % TAR_BLOCK)) % TAR_BLOCK)]);
}

/** "./" for the root, and directories with a slash behind. */
function namesAsPath({ names, type, linkTo }: SourceEntry): Buffer {
  return joined(names, type === "directory" && linkTo === null);
}

function joined(names: readonly Uint8Array[], isDirectory: boolean): Buffer {
  if (names.length === 0) return Buffer.from("./");
  const parts = names.flatMap((name, at) => (at === 0 ? [name] : [Buffer.from("/"), name]));
  return Buffer.concat([...parts, Buffer.from(isDirectory ? "/" : "")]);
}

function linkName({ target, linkTo }: SourceEntry): Uint8Array {
  return linkTo === null ? (target ?? Buffer.alloc(0)) : joined(linkTo, false);
}

/** What the fields of a header have no room for. */
function recordsOf(
  entry: SourceEntry,
  name: Uint8Array,
  size: number,
  isSparseFile: boolean,
): Records {
  const { modifyTime, accessTime, uid, gid, attributes } = entry;
  const records: Records = [];
  if (isSparseFile) {
    records.push(["GNU.sparse.major", "1"], ["GNU.sparse.minor", "0"]);
    records.push(["GNU.sparse.name", name], ["GNU.sparse.realsize", String(entry.size)]);
  } else if (name.length > NAME_BYTES_MAX) records.push(["path", name]);
  const link = linkName(entry);
  if (link.length > Field.linkName[1]) records.push(["linkpath", link]);
  if (!fits(size, Field.size)) records.push(["size", String(size)]);
  if (!fits(uid, Field.uid)) records.push(["uid", String(uid)]);
  if (!fits(gid, Field.gid)) records.push(["gid", String(gid)]);
  if (modifyTime.nanoseconds !== 0 || !fits(modifyTime.seconds, Field.modifyTime)) {
    records.push(["mtime", decimal(modifyTime)]);
  }
  if (
    accessTime.seconds !== modifyTime.seconds ||
    accessTime.nanoseconds !== modifyTime.nanoseconds
  ) {
    records.push(["atime", decimal(accessTime)]);
  }
  if (entry.linkTo === null) {
    for (const { name: keyword, value } of attributes) {
      records.push([`SCHILY.xattr.${Buffer.from(keyword).toString("utf8")}`, value]);
    }
  }
  return records;
}

/** Seconds with their fraction, below zero too. */
function decimal({ seconds, nanoseconds }: Time): string {
  const total = BigInt(seconds) * 1_000_000_000n + BigInt(nanoseconds);
  const positive = total < 0n ? -total : total;
  const fraction = String(positive % 1_000_000_000n)
    .padStart(9, "0")
    .replace(/0+$/, "");
  const whole = `${total < 0n ? "-" : ""}${positive / 1_000_000_000n}`;
  return fraction === "" ? whole : `${whole}.${fraction}`;
}

/** Octal digits and a zero byte. */
function fits(value: number, [, size]: readonly [number, number]): boolean {
  return value >= 0 && value < 8 ** (size - 1);
}

/** "length keyword=value\n", where the length counts itself. */
function paxBytes(records: Records): Buffer {
  return Buffer.concat(
    records.map(([keyword, value]) => {
      const rest = Buffer.concat([
        Buffer.from(` ${keyword}=`),
        Buffer.from(value as Uint8Array),
        Buffer.from("\n"),
      ]);
      let length = rest.length;
      while (rest.length + String(length).length !== length) {
        length = rest.length + String(length).length;
      }
      return Buffer.concat([Buffer.from(String(length)), rest]);
    }),
  );
}

function headerOf(
  entry: SourceEntry,
  { name, size, type }: { readonly name: Uint8Array; readonly size: number; readonly type: string },
): Buffer {
  const header = Buffer.alloc(TAR_BLOCK);
  const text = ([at, length]: readonly [number, number], value: Uint8Array): void => {
    header.set(value.subarray(0, length), at);
  };
  const number = (field: readonly [number, number], value: number): void => {
    const known = fits(value, field) ? value : 0; // a record of pax has it
    text(field, Buffer.from(known.toString(8).padStart(field[1] - 1, "0")));
  };
  text(Field.name, name);
  number(Field.mode, entry.mode);
  number(Field.uid, entry.uid);
  number(Field.gid, entry.gid);
  number(Field.size, size);
  number(Field.modifyTime, entry.modifyTime.seconds);
  text(Field.type, Buffer.from(type));
  if (type === "1" || type === "2") text(Field.linkName, linkName(entry));
  header.write("ustar\x0000", Field.magic[0], "latin1");
  number(Field.deviceMajor, entry.deviceMajor);
  number(Field.deviceMinor, entry.deviceMinor);
  header.fill(0x20, Field.checksum[0], Field.checksum[0] + Field.checksum[1]);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\x00 `, Field.checksum[0], "latin1");
  return header;
}
