/**
 * Fills a directory of a volume from a source, through a mount of it: a new volume's root, or what is copied to. What is
 * made has the source's owners, modes and times, and its extended attributes; a given time stands for the times that
 * nobody can set: change and birth. Or, where they are not to be kept, it is as what this process makes.
 *
 * A directory's own attributes come last, since every name made in it changes its times.
 */
import { HoldfastError, withContext } from "../../base/errors.ts";
import type { Ino } from "../../base/quantities.ts";
import type { AttributeChange, FilesystemDriver, Time } from "../../iomap/contract.ts";
import type { Transaction } from "../../metadata/transaction.ts";
import { changeAttributes } from "../attributes.ts";
import type { InodeReference } from "../inode-reference.ts";
import type { Mounted } from "../mount.ts";
import { createAt, makeLink, removeFile } from "../names.ts";
import type { Path, Scope } from "../paths.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { runScoped } from "../calls.ts";
import type { MkfsProgress } from "../mkfs/options.ts";
import { keyOf, nameText, type OnError, type Source, type SourceEntry } from "./source.ts";

/** What went into a volume, and what did not. */
export interface Filled {
  readonly directories: number;
  readonly files: number;
  readonly symlinks: number;
  /** Further names of what has one. */
  readonly links: number;
  /** Devices, FIFOs and sockets. */
  readonly special: number;
  /** Of files, holes left out. */
  readonly bytes: number;
  /** Extended attributes, access control lists among them. */
  readonly attributes: number;
  /** Those that the format has no place for by their name, left out; and the first of the files that have them. */
  readonly attributesSkipped: number;
  readonly attributesSkippedOf: readonly string[];
}

const PIECE_BYTES = 2 ** 20;
const DIRECTORY_MODE = 0o755;
const SKIPPED_NAMED_MAX = 10;

/** What an inode is given, once its content is there. */
interface Given {
  readonly change: AttributeChange;
  readonly attributes: SourceEntry["attributes"];
}

/** What is made, and where. */
export interface FillOptions {
  /** A directory of the volume, by its names; what the source calls its root. */
  readonly at: readonly Uint8Array[];
  /** Seconds: when it is made. */
  readonly time: number;
  /** Bytes of files, for the progress. */
  readonly bytesTotal: number;
  /** Keeps owners, times, all bits of modes and extended attributes. */
  readonly preserve: boolean;
  /** What is there stays as it is; else it is replaced. Directories are gone into. */
  readonly keepsExisting: boolean;
  /** Of what could not be made. */
  readonly onError: OnError;
}

type Counts = { -readonly [Name in keyof Filled]: Filled[Name] };

export class Filler {
  readonly #mounted: Mounted;
  readonly #source: Source;
  /** Seconds. */
  readonly #time: Time;
  readonly #options: FillOptions;
  readonly #piece = new Uint8Array(PIECE_BYTES);
  /** What the directories made are given, by their path; each after the one that it lies in. */
  readonly #directories = new Map<string, { path: Path; given: Given | null }>();
  readonly #skippedOf: string[] = [];
  readonly #counts: Counts = {
    directories: 0,
    files: 0,
    symlinks: 0,
    links: 0,
    special: 0,
    bytes: 0,
    attributes: 0,
    attributesSkipped: 0,
    attributesSkippedOf: this.#skippedOf,
  };

  constructor(mounted: Mounted, source: Source, options: FillOptions) {
    this.#mounted = mounted;
    this.#source = source;
    this.#time = { seconds: options.time, nanoseconds: 0 };
    this.#options = options;
    // As mke2fs -d, whoever runs it.
    mounted.core.driver.actFor({ uid: 0, gids: [] });
    this.#directories.set("", {
      path: this.#pathOf([]),
      given: options.at.length === 0 && options.preserve ? this.#plainDirectory() : null,
    });
  }

  #pathOf(names: readonly Uint8Array[]): Path {
    return { absolute: true, names: [...this.#options.at, ...names], trailingSlash: false };
  }

  /** Makes everything. Throws: ENOSPC, EINVAL for what a volume cannot hold, and what the source throws. */
  *run(): Generator<MkfsProgress, Filled> {
    for (const entry of this.#source.entries()) {
      const path = nameText(entry.names);
      try {
        yield* this.#add(entry, path);
      } catch (error) {
        this.#fail(error, path);
      }
    }
    for (const { path, given } of [...this.#directories.values()].reverse()) {
      if (given === null) continue;
      try {
        this.#give(path, given);
      } catch (error) {
        this.#fail(error, nameText(path.names));
      }
    }
    return this.#counts;
  }

  #fail(error: unknown, path: string): void {
    const { onError } = this.#options;
    if (onError === null || !(error instanceof HoldfastError)) {
      throw withContext(error, { path: `/${path}` });
    }
    onError(error, path);
  }

  *#add(entry: SourceEntry, path: string): Generator<MkfsProgress, void> {
    const counts = this.#counts;
    yield { step: "filling", done: counts.bytes, total: this.#options.bytesTotal, path };
    this.#makeParents(entry.names);
    if (this.#options.keepsExisting && entry.type !== "directory" && this.#exists(entry)) return;
    if (entry.type === "directory") {
      this.#addDirectory(entry);
      return;
    }
    if (entry.names.length === 0) {
      throw new HoldfastError("EINVAL", `the root is a directory, and not a ${entry.type}`);
    }
    if (entry.linkTo !== null) {
      this.#addLink(entry, entry.linkTo);
      return;
    }
    this.#make(entry);
    if (entry.type === "file") {
      counts.files++;
      yield* this.#write(entry, path);
    } else if (entry.type === "symlink") counts.symlinks++;
    else counts.special++;
    const given = this.#givenBy(entry);
    if (given !== null) this.#give(this.#pathOf(entry.names), given);
  }

  #exists({ names }: SourceEntry): boolean {
    const path = this.#pathOf(names);
    return this.#scoped(function* (scope) {
      return (yield* scope.at(yield* scope.walk(path))) !== null;
    });
  }

  #noteSkipped({ names }: Path): void {
    const path = nameText(names);
    this.#counts.attributesSkipped++;
    const noted = this.#skippedOf;
    const name = path === "" ? "/" : path;
    if (noted.length < SKIPPED_NAMED_MAX && noted.at(-1) !== name) noted.push(name);
  }

  /** Makes the directories on the way that no entry has made. */
  #makeParents(names: readonly Uint8Array[]): void {
    for (let count = 1; count < names.length; count++) {
      const parent = names.slice(0, count);
      const key = keyOf(parent);
      if (this.#directories.has(key)) continue;
      const isNew = this.#makeDirectory(parent, DIRECTORY_MODE);
      const given = isNew && this.#options.preserve ? this.#plainDirectory() : null;
      this.#directories.set(key, { path: this.#pathOf(parent), given });
    }
  }

  #addDirectory(entry: SourceEntry): void {
    const key = keyOf(entry.names);
    const isNew = !this.#directories.has(key) && this.#makeDirectory(entry.names, DIRECTORY_MODE);
    const given = isNew || this.#options.preserve ? this.#givenBy(entry) : null;
    this.#directories.set(key, { path: this.#pathOf(entry.names), given });
    if (entry.names.length > 0) this.#counts.directories++;
  }

  /** A directory that is there already, such as lost+found, serves as well. Returns whether there was none. */
  #makeDirectory(names: readonly Uint8Array[], mode: number): boolean {
    const path = this.#pathOf(names);
    const owner = this.#owner(null);
    return this.#scoped(function* (scope) {
      const place = yield* scope.walk(path);
      const found = yield* scope.at(place);
      if (found?.isDirectory === true) return false;
      yield* createAt(scope, place, { type: "directory", mode, ...owner });
      return true;
    });
  }

  /** Whose a new inode is, and when it was made: of an entry, or of the superuser. */
  #owner(entry: SourceEntry | null): { uid?: number; gid?: number; time?: Time } {
    if (!this.#options.preserve) return {};
    return { uid: entry?.uid ?? 0, gid: entry?.gid ?? 0, time: this.#time };
  }

  /** What has the name already goes: of an archive the last entry counts. */
  #make(entry: SourceEntry): void {
    const { type, deviceMajor, deviceMinor, target } = entry;
    const { core } = this.#mounted;
    // The umask cuts what is made, but where modes are kept.
    const mode = this.#options.preserve ? entry.mode : entry.mode & 0o777 & ~core.umask;
    const draft = { type, mode, deviceMajor, deviceMinor, ...this.#owner(entry) };
    const path = this.#pathOf(entry.names);
    this.#scoped(function* (scope) {
      yield* clearWay(scope, path);
      const place = yield* scope.walk(path);
      yield* createAt(scope, place, target === null ? draft : { ...draft, target });
    });
  }

  #addLink(entry: SourceEntry, existing: readonly Uint8Array[]): void {
    const changeTime = this.#time;
    const [path, from] = [this.#pathOf(entry.names), this.#pathOf(existing)];
    this.#scoped(function* (scope) {
      yield* clearWay(scope, path);
      yield* makeLink(scope, from, path);
      const inode = yield* scope.find(path, false);
      yield* changeAttributes(scope.task, scope.core, inode, () => ({ changeTime }));
    });
    this.#counts.links++;
  }

  /** Copies a file's data, and leaves its holes. */
  *#write(entry: SourceEntry, path: string): Generator<MkfsProgress, void> {
    if (entry.size === 0) return;
    const file = this.#mounted.volume.openSync(bytesOf(this.#pathOf(entry.names)), "r+");
    try {
      for (const { start, length } of entry.data) {
        for (let done = 0; done < length; ) {
          const wanted = this.#piece.subarray(0, Math.min(PIECE_BYTES, length - done));
          const count = this.#source.read(start + done, wanted);
          if (count === 0) break; // It became shorter meanwhile: a hole is left of the rest.
          writeAll(file, wanted.subarray(0, count), start + done);
          done += count;
          this.#counts.bytes += count;
          yield {
            step: "filling",
            done: this.#counts.bytes,
            total: this.#options.bytesTotal,
            path,
          };
        }
      }
      if (file.statSync().size < entry.size) file.truncateSync(entry.size);
    } finally {
      file.closeSync();
    }
  }

  /** Null: as it was made. */
  #givenBy(entry: SourceEntry): Given | null {
    const { type, mode, uid, gid, accessTime, modifyTime, attributes } = entry;
    if (!this.#options.preserve) {
      if (type !== "directory") return null;
      return { change: { mode: mode & 0o777 & ~this.#mounted.core.umask }, attributes: [] };
    }
    const change = { mode, uid, gid, accessTime, modifyTime, changeTime: this.#time };
    return { change, attributes };
  }

  #plainDirectory(): Given {
    const time = this.#time;
    const times = { accessTime: time, modifyTime: time, changeTime: time };
    return { change: { mode: DIRECTORY_MODE, uid: 0, gid: 0, ...times }, attributes: [] };
  }

  #give(path: Path, { change, attributes }: Given): void {
    const kept = attributes.filter(({ name }) => {
      const hasPlace = this.#hasPlace(name);
      if (!hasPlace) this.#noteSkipped(path);
      return hasPlace;
    });
    this.#scoped(function* (scope) {
      const { core, task } = scope;
      const inode: InodeReference = yield* scope.find(path, false);
      yield* changeAttributes(task, core, inode, (_info, transaction) => {
        setAll(core.driver, transaction, inode.ino, kept);
        return change;
      });
    });
    this.#counts.attributes += kept.length;
  }

  /** Whether the volume can have an attribute of this name. */
  #hasPlace(name: Uint8Array): boolean {
    const { driver } = this.#mounted.core;
    try {
      driver.extendedAttributes?.get(driver.rootIno, name);
      return driver.extendedAttributes !== null;
    } catch (error) {
      const code = error instanceof HoldfastError ? error.code : null;
      if (code === "EOPNOTSUPP" || code === "EINVAL") return false;
      throw error;
    }
  }

  #scoped<T>(run: (scope: Scope) => Sleeps<T>): T {
    const { core } = this.#mounted;
    return core.runSync({ syscall: "mkfs" }, (task) => runScoped(core, task, run));
  }
}

/** Throws: ENOSPC; E2BIG where blocks are free, but attributes are more than an inode can have. */
function setAll(
  driver: FilesystemDriver,
  transaction: Transaction,
  ino: Ino,
  attributes: Given["attributes"],
): void {
  for (const { name, value } of attributes) {
    try {
      driver.extendedAttributes?.set(transaction, ino, name, value);
    } catch (error) {
      const isFull = error instanceof HoldfastError && error.code === "ENOSPC";
      const { blocksFree, blockSize } = driver.spaceInfo();
      if (!isFull || blocksFree === 0) throw error;
      const shown = Buffer.from(name).toString("utf8");
      const room = `its inode and one block, of ${blockSize} bytes here`;
      const what = `no room for ${shown}: the extended attributes of a file have ${room}`;
      throw new HoldfastError("E2BIG", what, { cause: error });
    }
  }
}

/** Removes what has the name, unless it is a directory. */
function* clearWay(scope: Scope, path: Path): Sleeps<void> {
  const place = yield* scope.walk(path);
  if ((yield* scope.at(place)) !== null) yield* removeFile(scope, path);
}

function writeAll(
  file: { writeSync(bytes: Uint8Array, position: number): number },
  bytes: Uint8Array,
  position: number,
): void {
  for (let done = 0; done < bytes.length; ) {
    done += file.writeSync(bytes.subarray(done), position + done);
  }
}

function bytesOf({ names }: Path): Uint8Array {
  return Buffer.concat(names.flatMap((name) => [Buffer.from("/"), name]));
}
