/**
 * Writes what a source has below a directory of the system's. With `preserve` it gets owners, modes, times and extended
 * attributes as far as this process may give them; else it is as what this process makes.
 */
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  symlinkSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { HoldfastError } from "../../base/errors.ts";
import { makeHostNode, setHostAttribute, setHostTimes } from "../../device/index.ts";
import type { MkfsProgress } from "../mkfs/options.ts";
import { TYPE_BITS } from "../stats.ts";
import type { FillOptions } from "./fill.ts";
import { keyOf, nameText, type Source, type SourceEntry, tellOrThrow } from "./source.ts";

export type HostOptions = Pick<
  FillOptions,
  "bytesTotal" | "preserve" | "keepsExisting" | "onError"
> & {
  /** A directory that is there. */
  readonly at: string;
};

const PIECE_BYTES = 2 ** 20;
const SLASH = Buffer.from("/");

export class HostWriter {
  readonly #source: Source;
  readonly #options: HostOptions;
  readonly #piece = new Uint8Array(PIECE_BYTES);
  /** Directories, which get their attributes when all is in them, by their path; null: they had them before. */
  readonly #directories = new Map<string, SourceEntry | null>([["", null]]);
  #bytes = 0;

  constructor(source: Source, options: HostOptions) {
    this.#source = source;
    this.#options = options;
  }

  /** Throws: ENOSPC, EACCES, EPERM …, where nobody is told by `onError`; and what the source throws. */
  *run(): Generator<MkfsProgress, void> {
    for (const entry of this.#source.entries()) {
      const path = nameText(entry.names);
      yield this.#progress(path);
      try {
        yield* this.#add(entry, path);
      } catch (error) {
        tellOrThrow(this.#options.onError, error, path);
      }
    }
    for (const [path, entry] of [...this.#directories].reverse()) {
      if (entry === null) continue;
      try {
        this.#give(entry);
      } catch (error) {
        tellOrThrow(this.#options.onError, error, path);
      }
    }
  }

  #progress(path: string): MkfsProgress {
    return { step: "filling", done: this.#bytes, total: this.#options.bytesTotal, path };
  }

  #pathOf(names: readonly Uint8Array[]): Buffer {
    return Buffer.concat([
      Buffer.from(this.#options.at),
      ...names.flatMap((name) => [SLASH, name]),
    ]);
  }

  *#add(entry: SourceEntry, path: string): Generator<MkfsProgress, void> {
    const place = this.#pathOf(entry.names);
    this.#makeParents(entry.names);
    if (entry.type === "directory") {
      this.#addDirectory(entry, place);
      return;
    }
    const found = lstatSync(place, { throwIfNoEntry: false });
    if (found !== undefined && this.#options.keepsExisting) return;
    if (found?.isDirectory()) throw new HoldfastError("EISDIR", "is a directory there");
    if (found !== undefined) unlinkSync(place);
    if (entry.linkTo !== null) {
      linkSync(this.#pathOf(entry.linkTo), place);
      return;
    }
    yield* this.#make(entry, place, path);
    if (this.#options.preserve) this.#give(entry);
  }

  #makeParents(names: readonly Uint8Array[]): void {
    for (let count = 1; count < names.length; count++) {
      const key = keyOf(names.slice(0, count));
      if (this.#directories.has(key)) continue;
      makeDirectory(this.#pathOf(names.slice(0, count)), 0o777);
      this.#directories.set(key, null);
    }
  }

  #addDirectory(entry: SourceEntry, place: Buffer): void {
    const key = keyOf(entry.names);
    const isNew = !this.#directories.has(key) && makeDirectory(place, 0o700);
    this.#directories.set(key, isNew || this.#options.preserve ? entry : null);
  }

  *#make(entry: SourceEntry, place: Buffer, path: string): Generator<MkfsProgress, void> {
    const { type } = entry;
    if (type === "symlink") symlinkSync(Buffer.from(entry.target!), place);
    else if (type === "file") yield* this.#write(entry, place, path);
    else if (type === "socket") {
      throw new HoldfastError("EOPNOTSUPP", "is a socket, which only a program makes");
    } else {
      const mode = TYPE_BITS[type] | (entry.mode & 0o777);
      makeHostNode(place, mode, entry.deviceMajor, entry.deviceMinor);
    }
  }

  /** Copies a file's data, and leaves its holes. */
  *#write(entry: SourceEntry, place: Buffer, path: string): Generator<MkfsProgress, void> {
    const mode = this.#options.preserve ? 0o600 : entry.mode & 0o777;
    const fd = openSync(place, "wx", mode);
    try {
      ftruncateSync(fd, entry.size);
      for (const { start, length } of entry.data) {
        for (let done = 0; done < length; ) {
          const wanted = this.#piece.subarray(0, Math.min(PIECE_BYTES, length - done));
          const count = this.#source.read(start + done, wanted);
          if (count === 0) break; // It became shorter meanwhile: a hole is left of the rest.
          for (let at = 0; at < count; )
            at += writeSync(fd, wanted, at, count - at, start + done + at);
          done += count;
          this.#bytes += count;
          yield this.#progress(path);
        }
      }
    } finally {
      closeSync(fd);
    }
  }

  /** As cp -a does: owners only as the superuser; attributes that the filesystem there cannot have are told. */
  #give(entry: SourceEntry): void {
    const place = this.#pathOf(entry.names);
    if (!this.#options.preserve) {
      chmodSync(place, entry.mode & 0o777 & ~process.umask());
      return;
    }
    if (process.getuid?.() === 0) lchownSync(place, entry.uid, entry.gid);
    if (entry.type !== "symlink") chmodSync(place, entry.mode);
    for (const attribute of entry.attributes) this.#giveAttribute(entry, place, attribute);
    setHostTimes(place, entry.accessTime, entry.modifyTime);
  }

  #giveAttribute(
    { names }: SourceEntry,
    place: Buffer,
    attribute: SourceEntry["attributes"][number],
  ): void {
    try {
      setHostAttribute(place, attribute);
    } catch (error) {
      if (!(error instanceof HoldfastError)) throw error;
      const name = Buffer.from(attribute.name).toString("utf8");
      const what = `the extended attribute ${name} cannot be set there`;
      tellOrThrow(
        this.#options.onError,
        new HoldfastError(error.code, what, { cause: error }),
        nameText(names),
      );
    }
  }
}

/**
 * Whether there was none. Throws: EEXIST for what is no directory, a symlink to one, too: what is in a volume is not
 * written to where a name leads that the volume, or somebody else, has put there.
 */
function makeDirectory(place: Buffer, mode: number): boolean {
  try {
    mkdirSync(place, mode);
    return true;
  } catch (error) {
    const isThere = (error as NodeJS.ErrnoException).code === "EEXIST";
    if (isThere && lstatSync(place, { throwIfNoEntry: false })?.isDirectory() === true)
      return false;
    throw error;
  }
}
