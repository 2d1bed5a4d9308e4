/**
 * Paths: from names to inodes.
 *
 * A walk locks one directory at a time, shared (none where it knows the name: name-cache.ts), and holds a reference of each inode it has reached,
 * so that its number stays valid when the directory's lock is dropped: what it found may lose its
 * name meanwhile, but is not freed.
 *
 * Lock order among directories (all have rank "directory"): the rename lock (order 0) first, then
 * any number of directories by inode number. A walk never holds two. So parents and children need
 * no order of their own.
 */
import { HoldfastError } from "../base/errors.ts";
import type { Ino } from "../base/quantities.ts";
import { MappingWord } from "../mapping/mapping.ts";
import { readStable } from "../metadata/sequence.ts";
import { load } from "../sync/atomics.ts";
import { type Held, lockExclusive, lockShared, tryLockShared } from "../sync/lock.ts";
import type { Sleeps, Task } from "../sync/sleep.ts";
import type { VolumeCore } from "./core.ts";
import type { InodeReference } from "./inode-reference.ts";

const PATH_BYTES_MAX = 4096;
/** Bytes in a name, at most: NAME_MAX of Linux. A driver may allow less. */
export const NAME_BYTES_MAX = 255;
const SYMLINKS_MAX = 40;
const SLASH = 0x2f;
const DOT = 0x2e;

export interface Path {
  readonly absolute: boolean;
  /** Between slashes; none is empty. */
  readonly names: readonly Uint8Array[];
  /** A slash at the end: what it leads to must be a directory. */
  readonly trailingSlash: boolean;
}

/** Takes a path apart. Throws: ENOENT for an empty one, ENAMETOOLONG. */
export function parsePath(bytes: Uint8Array): Path {
  if (bytes.length === 0) throw new HoldfastError("ENOENT", "an empty path names nothing");
  if (bytes.length >= PATH_BYTES_MAX) {
    throw new HoldfastError(
      "ENAMETOOLONG",
      `the path has ${bytes.length} bytes; at most ${PATH_BYTES_MAX - 1} are allowed`,
    );
  }
  const names: Uint8Array[] = [];
  let start = 0;
  for (let at = 0; at <= bytes.length; at++) {
    if (at < bytes.length && bytes[at] !== SLASH) continue;
    if (at > start) names.push(bytes.subarray(start, at));
    start = at + 1;
  }
  return {
    absolute: bytes[0] === SLASH,
    names,
    trailingSlash: names.length > 0 && bytes.at(-1) === SLASH,
  };
}

export function isDot(name: Uint8Array): boolean {
  return name.length === 1 && name[0] === DOT;
}

function isDotDot(name: Uint8Array): boolean {
  return name.length === 2 && name[0] === DOT && name[1] === DOT;
}

/** "." or "..". */
export function isDots(name: Uint8Array): boolean {
  return isDot(name) || isDotDot(name);
}

/** Where a path's last name belongs, before that is looked up. */
export interface Place {
  /** A directory. */
  readonly directory: InodeReference;
  readonly name: Uint8Array;
  /** "root": the path has no names, `directory` is what it leads to. */
  readonly kind: "name" | "dot" | "dotdot" | "root";
  readonly trailingSlash: boolean;
}

/**
 * One operation on names: its task, and the references it has taken, which are all dropped when it
 * ends.
 */
export class Scope implements Disposable {
  readonly core: VolumeCore;
  readonly task: Task;
  readonly #references: InodeReference[] = [];
  #symlinks = 0;

  /** Throws: EIO when the device is gone. */
  constructor(core: VolumeCore, task: Task) {
    core.assertPresent();
    this.core = core;
    this.task = task;
  }

  [Symbol.dispose](): void {
    for (const reference of this.#references) reference.release();
  }

  /** A reference that lasts as long as the operation. Locks and errors: as InodeTable.acquire. */
  *reference(ino: Ino): Sleeps<InodeReference> {
    const reference = yield* this.core.inodes.acquire(ino);
    this.#references.push(reference);
    return reference;
  }

  #tryReference(ino: Ino): InodeReference | null {
    const reference = this.core.inodes.tryAcquire(ino);
    if (reference !== null) this.#references.push(reference);
    return reference;
  }

  /** The root directory. */
  *root(): Sleeps<InodeReference> {
    const { rootIno } = this.core.driver;
    return this.#tryReference(rootIno) ?? (yield* this.reference(rootIno));
  }

  /** As `step`, when nothing is in the way; undefined: `step` must sleep, or make the record. */
  #tryStep(directory: InodeReference, name: Uint8Array): InodeReference | null | undefined {
    this.#assertSteps(directory, name);
    const known = this.#known(directory, name);
    if (known !== null) return known;
    const held = tryLockShared(this.task, directory.mapping + MappingWord.ioLock, {
      rankName: "directory",
      order: directory.ino,
    });
    if (held === null) return undefined;
    try {
      const ino = this.#lookUp(directory, name);
      return ino === null ? null : (this.#tryReference(ino) ?? undefined);
    } finally {
      held.release();
    }
  }

  /**
   * What a name leads to that this thread has found before, or null: look for it. The directory has not changed between
   * two looks at its sequence, so the name was there when the reference was taken.
   */
  #known({ mapping }: InodeReference, name: Uint8Array): InodeReference | null {
    const { thread, names } = this.core;
    const sequence = load(thread.words, mapping + MappingWord.sequence);
    const ino = names.find(mapping, sequence, name);
    if (ino === null) return null;
    const found = this.#tryReference(ino);
    return load(thread.words, mapping + MappingWord.sequence) === sequence ? found : null;
  }

  /** Looks into a directory, and notes what is found. Locks: the directory's. */
  #lookUp({ mapping, ino }: InodeReference, name: Uint8Array): Ino | null {
    const { driver, thread, names } = this.core;
    const entry = driver.lookup(ino, name);
    if (entry === null) return null;
    if (!isDotDot(name)) {
      names.note(mapping, load(thread.words, mapping + MappingWord.sequence), name, entry.ino);
    }
    return entry.ino;
  }

  /**
   * What `name` leads to in a directory, not followed; null when it has no such name.
   * Locks: takes the directory's, shared. Throws: ENOTDIR, ENAMETOOLONG, CorruptionError.
   */
  *step(directory: InodeReference, name: Uint8Array): Sleeps<InodeReference | null> {
    const quick = this.#tryStep(directory, name);
    if (quick !== undefined) return quick;
    using _lock = yield* lockDirectoryShared(this.task, directory);
    const ino = this.#lookUp(directory, name);
    return ino === null ? null : yield* this.reference(ino);
  }

  #assertSteps(directory: InodeReference, name: Uint8Array): void {
    if (!directory.isDirectory) throw notDirectory();
    if (name.length <= NAME_BYTES_MAX) return;
    throw new HoldfastError(
      "ENAMETOOLONG",
      `a name of ${name.length} bytes is too long; at most ${NAME_BYTES_MAX} are allowed`,
    );
  }

  /**
   * Walks to the directory that holds the path's last name. Symlinks on the way are followed.
   * Throws: ENOENT, ENOTDIR, ELOOP after 40 symlinks, ENAMETOOLONG, CorruptionError.
   */
  *walk(path: Path, start: InodeReference | null = null): Sleeps<Place> {
    let directory = path.absolute || start === null ? yield* this.root() : start;
    const last = path.names.length - 1;
    for (let index = 0; index < last; index++) {
      directory = yield* this.#enter(directory, path.names[index]!);
    }
    if (!directory.isDirectory) throw notDirectory();
    const name = path.names[last];
    const { trailingSlash } = path;
    if (name === undefined) {
      return { directory, name: new Uint8Array(0), kind: "root", trailingSlash };
    }
    this.#assertSteps(directory, name);
    const kind = isDot(name) ? "dot" : isDotDot(name) ? "dotdot" : "name";
    return { directory, name, kind, trailingSlash };
  }

  /** One name of the way: followed, whatever it is. */
  *#enter(directory: InodeReference, name: Uint8Array): Sleeps<InodeReference> {
    if (!directory.isDirectory) throw notDirectory();
    if (isDot(name)) return directory;
    if (isDotDot(name) && directory.ino === this.core.driver.rootIno) return directory;
    const quick = this.#tryStep(directory, name);
    const next = quick === undefined ? yield* this.step(directory, name) : quick;
    if (next === null) throw missing();
    if (next.type !== "symlink") return next;
    return yield* this.find(yield* this.target(next), true, directory);
  }

  /** The inode a path leads to; a symlink at its end is followed if `follow`, or by a slash. */
  *find(path: Path, follow: boolean, start: InodeReference | null = null): Sleeps<InodeReference> {
    const place = yield* this.walk(path, start);
    const found = yield* this.at(place);
    if (found === null) throw missing();
    if (found.type === "symlink" && (follow || path.trailingSlash)) {
      const end = yield* this.find(yield* this.target(found), true, place.directory);
      if (path.trailingSlash && !end.isDirectory) throw notDirectory();
      return end;
    }
    if (path.trailingSlash && !found.isDirectory) throw notDirectory();
    return found;
  }

  /** What is at a place now, not followed; null when nothing is. */
  *at(place: Place): Sleeps<InodeReference | null> {
    const { directory, kind } = place;
    if (kind === "root" || kind === "dot") return directory;
    if (kind === "dotdot" && directory.ino === this.core.driver.rootIno) return directory;
    return yield* this.step(directory, place.name);
  }

  /** A symlink's target, counted. Throws: ELOOP when it is the 41st. */
  *target(symlink: InodeReference): Sleeps<Path> {
    if (++this.#symlinks > SYMLINKS_MAX) {
      throw new HoldfastError("ELOOP", `the path leads through more than ${SYMLINKS_MAX} symlinks`);
    }
    return parsePath(yield* readTarget(this, symlink));
  }
}

/** The bytes of a symlink's target. They never change. */
export function* readTarget(scope: Scope, symlink: InodeReference): Sleeps<Uint8Array> {
  const { driver } = scope.core;
  return yield* readStable(scope.task, symlink.mapping + MappingWord.sequence, () =>
    driver.readLink(symlink.ino),
  );
}

export function* lockDirectoryShared(
  task: Task,
  directory: InodeReference,
): Sleeps<Held<"directory">> {
  const lock = directory.mapping + MappingWord.ioLock;
  return yield* lockShared(task, lock, { rankName: "directory", order: directory.ino });
}

/** Takes an inode's lock exclusively: it ranks as directory or io, by what the inode is. */
export function* lockInode(task: Task, inode: InodeReference): Sleeps<Held> {
  const rankName = inode.isDirectory ? "directory" : "io";
  return yield* lockExclusive(task, inode.mapping + MappingWord.ioLock, {
    rankName,
    order: inode.ino,
  });
}

/** Takes several inodes' locks exclusively, in their order, each once: directories, then files. */
export function* lockInodes(
  task: Task,
  inodes: readonly (InodeReference | null)[],
): Sleeps<Disposable> {
  const wanted = inodes.filter((inode) => inode !== null);
  wanted.sort((a, b) => Number(b.isDirectory) - Number(a.isDirectory) || a.ino - b.ino);
  const taken = new TakenLocks();
  try {
    for (const [index, inode] of wanted.entries()) {
      if (wanted[index - 1]?.ino !== inode.ino) taken.add(yield* lockInode(task, inode));
    }
  } catch (error) {
    taken[Symbol.dispose]();
    throw error;
  }
  return taken;
}

/** Locks that go together, the last one taken first. */
class TakenLocks implements Disposable {
  readonly #taken: Held[] = [];

  add(held: Held): void {
    this.#taken.push(held);
  }

  [Symbol.dispose](): void {
    for (let held = this.#taken.pop(); held !== undefined; held = this.#taken.pop()) held.release();
  }
}

export function missing(): HoldfastError {
  return new HoldfastError("ENOENT", "no such file or directory");
}

export function notDirectory(): HoldfastError {
  return new HoldfastError("ENOTDIR", "not a directory");
}
