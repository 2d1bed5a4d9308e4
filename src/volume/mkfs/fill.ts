/**
 * Fills a new volume from a source, through a mount of it. What is made has the source's owners, modes and
 * times; the time of the volume stands for the times that nobody can set: change and birth.
 *
 * A directory's own attributes come last, since every name made in it changes its times.
 */
import { HoldfastError, withContext } from "../../base/errors.ts";
import type { AttributeChange, Time } from "../../iomap/contract.ts";
import { changeAttributes } from "../attributes.ts";
import type { InodeReference } from "../inode-reference.ts";
import type { Mounted } from "../mount.ts";
import { createAt, makeLink, removeFile } from "../names.ts";
import type { Path, Scope } from "../paths.ts";
import type { Sleeps } from "../../sync/sleep.ts";
import { runScoped } from "../volume.ts";
import type { MkfsProgress } from "./options.ts";
import { keyOf, nameText, type Source, type SourceEntry } from "./source.ts";

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
  /** Extended attributes that were left out, and the first of the files that have them. */
  readonly attributesSkipped: number;
  readonly attributesSkippedOf: readonly string[];
}

const PIECE_BYTES = 2 ** 20;
const DIRECTORY_MODE = 0o755;
const SKIPPED_NAMED_MAX = 10;

type Counts = { -readonly [Name in keyof Filled]: Filled[Name] };

export class Filler {
  readonly #mounted: Mounted;
  readonly #source: Source;
  /** Seconds. */
  readonly #time: Time;
  readonly #bytesTotal: number;
  readonly #piece = new Uint8Array(PIECE_BYTES);
  /** Attributes of the directories made, by their path; each after the one that it lies in. */
  readonly #directories = new Map<string, { path: Path; change: AttributeChange }>();
  readonly #skippedOf: string[] = [];
  readonly #counts: Counts = {
    directories: 0,
    files: 0,
    symlinks: 0,
    links: 0,
    special: 0,
    bytes: 0,
    attributesSkipped: 0,
    attributesSkippedOf: this.#skippedOf,
  };

  /** `bytesTotal`: of files, for the progress. */
  constructor(mounted: Mounted, source: Source, time: number, bytesTotal: number) {
    this.#mounted = mounted;
    this.#source = source;
    this.#time = { seconds: time, nanoseconds: 0 };
    this.#bytesTotal = bytesTotal;
    this.#directories.set("", { path: pathOf([]), change: this.#plainDirectory() });
  }

  /** Makes everything. Throws: ENOSPC, EINVAL for what a volume cannot hold, and what the source throws. */
  *run(): Generator<MkfsProgress, Filled> {
    for (const entry of this.#source.entries()) {
      const path = nameText(entry.names);
      try {
        yield* this.#add(entry, path);
      } catch (error) {
        throw withContext(error, { path: `/${path}` });
      }
    }
    for (const { path, change } of [...this.#directories.values()].reverse()) {
      this.#change(path, change);
    }
    return this.#counts;
  }

  *#add(entry: SourceEntry, path: string): Generator<MkfsProgress, void> {
    const counts = this.#counts;
    yield { step: "filling", done: counts.bytes, total: this.#bytesTotal, path };
    if (entry.attributes > 0 && entry.linkTo === null) this.#noteSkipped(entry, path);
    this.#makeParents(entry.names);
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
    this.#change(pathOf(entry.names), this.#attributesOf(entry));
  }

  #noteSkipped({ attributes }: SourceEntry, path: string): void {
    this.#counts.attributesSkipped += attributes;
    if (this.#skippedOf.length < SKIPPED_NAMED_MAX) this.#skippedOf.push(path === "" ? "/" : path);
  }

  /** Makes the directories on the way that no entry has made. */
  #makeParents(names: readonly Uint8Array[]): void {
    for (let count = 1; count < names.length; count++) {
      const parent = names.slice(0, count);
      const key = keyOf(parent);
      if (this.#directories.has(key)) continue;
      this.#makeDirectory(parent);
      this.#directories.set(key, { path: pathOf(parent), change: this.#plainDirectory() });
    }
  }

  #addDirectory(entry: SourceEntry): void {
    const key = keyOf(entry.names);
    if (!this.#directories.has(key)) this.#makeDirectory(entry.names);
    const change = this.#attributesOf(entry);
    this.#directories.set(key, { path: pathOf(entry.names), change });
    if (entry.names.length > 0) this.#counts.directories++;
  }

  /** A directory that is there already, such as lost+found, serves as well. */
  #makeDirectory(names: readonly Uint8Array[]): void {
    const time = this.#time;
    this.#scoped(function* (scope) {
      const place = yield* scope.walk(pathOf(names));
      const found = yield* scope.at(place);
      if (found?.isDirectory === true) return;
      yield* createAt(scope, place, {
        type: "directory",
        mode: DIRECTORY_MODE,
        uid: 0,
        gid: 0,
        time,
      });
    });
  }

  /** What has the name already goes: of an archive the last entry counts. */
  #make(entry: SourceEntry): void {
    const { type, mode, uid, gid, deviceMajor, deviceMinor, target } = entry;
    const draft = { type, mode, uid, gid, deviceMajor, deviceMinor, time: this.#time };
    this.#scoped(function* (scope) {
      const path = pathOf(entry.names);
      yield* clearWay(scope, path);
      const place = yield* scope.walk(path);
      yield* createAt(scope, place, target === null ? draft : { ...draft, target });
    });
  }

  #addLink(entry: SourceEntry, existing: readonly Uint8Array[]): void {
    const changeTime = this.#time;
    this.#scoped(function* (scope) {
      const path = pathOf(entry.names);
      yield* clearWay(scope, path);
      yield* makeLink(scope, pathOf(existing), path);
      const inode = yield* scope.find(path, false);
      yield* changeAttributes(scope.task, scope.core, inode, () => ({ changeTime }));
    });
    this.#counts.links++;
  }

  /** Copies a file's data, and leaves its holes. */
  *#write(entry: SourceEntry, path: string): Generator<MkfsProgress, void> {
    if (entry.size === 0) return;
    const file = this.#mounted.volume.openSync(bytesOf(entry.names), "r+");
    try {
      for (const { start, length } of entry.data) {
        for (let done = 0; done < length; ) {
          const wanted = this.#piece.subarray(0, Math.min(PIECE_BYTES, length - done));
          const count = this.#source.read(start + done, wanted);
          if (count === 0) break; // It became shorter meanwhile: a hole is left of the rest.
          writeAll(file, wanted.subarray(0, count), start + done);
          done += count;
          this.#counts.bytes += count;
          yield { step: "filling", done: this.#counts.bytes, total: this.#bytesTotal, path };
        }
      }
      if (file.statSync().size < entry.size) file.truncateSync(entry.size);
    } finally {
      file.closeSync();
    }
  }

  #attributesOf({ mode, uid, gid, accessTime, modifyTime }: SourceEntry): AttributeChange {
    return { mode, uid, gid, accessTime, modifyTime, changeTime: this.#time };
  }

  #plainDirectory(): AttributeChange {
    const time = this.#time;
    return {
      mode: DIRECTORY_MODE,
      uid: 0,
      gid: 0,
      accessTime: time,
      modifyTime: time,
      changeTime: time,
    };
  }

  #change(path: Path, change: AttributeChange): void {
    this.#scoped(function* (scope) {
      const inode: InodeReference = yield* scope.find(path, false);
      yield* changeAttributes(scope.task, scope.core, inode, () => change);
    });
  }

  #scoped<T>(run: (scope: Scope) => Sleeps<T>): T {
    const { core } = this.#mounted;
    return core.runSync({ syscall: "mkfs" }, (task) => runScoped(core, task, run));
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

function pathOf(names: readonly Uint8Array[]): Path {
  return { absolute: true, names, trailingSlash: false };
}

function bytesOf(names: readonly Uint8Array[]): Uint8Array {
  return Buffer.concat(names.flatMap((name) => [Buffer.from("/"), name]));
}
