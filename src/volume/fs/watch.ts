/**
 * Watching files and directories for what is changed through the volume, by this thread and by others: as node:fs
 * tells it on Linux (libuv's uv_fs_event over inotify(7)).
 */
import { EventEmitter } from "node:events";
import type * as nodeFs from "node:fs";
import { AbortError, HoldfastError } from "../../base/errors.ts";
import { type Callback, runAsync, runSync, type Script } from "./script.ts";
import { wrongType } from "../arguments.ts";
import * as calls from "../calls.ts";
import { type Change, ChangeKind } from "../changes.ts";
import type { OpenThing } from "../core.ts";
import {
  checkBoolean,
  checkEncoding,
  checkSignal,
  encoded,
  type Encoding,
  type FsPath,
  optionsOf,
  pathBytes,
  pathString,
} from "./arguments.ts";
import type { Host } from "./host.ts";
import { below, isMissing, stat } from "./names.ts";

type WatchEvent = nodeFs.WatchEventType;

/** Who is told. A name is null where changes were missed. */
interface Told {
  event(type: WatchEvent, name: Buffer | null): void;
  failure(error: unknown): void;
  /** The volume was closed. */
  end(): void;
}

/** A directory of a watched tree. The top has no parent. */
interface WatchedDirectory {
  parent: number | null;
  name: Buffer;
  /** Moved away, and not arrived anywhere yet. */
  isAway: boolean;
}

interface Entry {
  readonly directory: number;
  readonly name: Buffer;
}

const keyOf = (directory: number, name: Buffer): string =>
  `${directory}/${name.toString("latin1")}`;

/**
 * What is watched: an inode, with what is in it where that is a directory, and with what lies below. Inodes are
 * told of by number, so it keeps which names they have here.
 */
class Watch implements OpenThing {
  readonly #host: Host;
  readonly #path: Uint8Array;
  /** Of the path: under this name the thing itself is told of. */
  readonly #base: Buffer;
  readonly #isRecursive: boolean;
  readonly #told: Told;
  #ino = 0;
  #listening: Disposable | null = null;
  readonly #directories = new Map<number, WatchedDirectory>();
  readonly #entries = new Map<number, Entry[]>();
  readonly #inodes = new Map<string, number>();
  /** Not handled yet, in order, while a directory is read. */
  readonly #waiting: (Change | null)[] = [];
  #isReading = true;

  constructor(host: Host, path: Uint8Array, isRecursive: boolean, told: Told) {
    this.#host = host;
    this.#path = path;
    this.#base = Buffer.from(path).subarray(path.lastIndexOf(SLASH) + 1);
    this.#isRecursive = isRecursive;
    this.#told = told;
  }

  /** Throws: ENOENT and what else `stat` does. */
  *start(): Script<void> {
    const { core } = this.#host;
    core.assertPresent();
    this.#listening = core.changes.listen((change) => this.#take(change));
    core.open.add(this);
    try {
      yield* this.#readAll();
    } catch (error) {
      this.close();
      throw error;
    }
    this.#isReading = false;
    this.#goOn();
  }

  close(): void {
    this.#listening?.[Symbol.dispose]();
    this.#listening = null;
    this.#host.core.open.delete(this);
  }

  closeSync(): void {
    this.close();
    this.#told.end();
  }

  *#readAll(): Script<void> {
    const stats = yield* stat(this.#host, this.#path);
    this.#ino = stats.ino;
    this.#directories.clear();
    this.#entries.clear();
    this.#inodes.clear();
    if (!stats.isDirectory()) return;
    this.#directories.set(stats.ino, { parent: null, name: NO_NAME, isAway: false });
    yield* this.#readTree(stats.ino, this.#path);
  }

  *#readTree(ino: number, path: Uint8Array): Script<void> {
    const left = [{ ino, path }];
    for (let next = left.pop(); next !== undefined; next = left.pop()) {
      const listing = yield* this.#host.call(calls.readdirEntries(next.path));
      for (const { ino: found, nameBytes, type } of listing) {
        const name = Buffer.from(nameBytes);
        this.#add(next.ino, name, found);
        if (!this.#isRecursive || type !== "directory") continue;
        this.#directories.set(found, { parent: next.ino, name, isAway: false });
        left.push({ ino: found, path: below(next.path, name) });
      }
    }
  }

  #take(change: Change | null): void {
    this.#waiting.push(change);
    this.#goOn();
  }

  #goOn(): void {
    while (!this.#isReading && this.#listening !== null && this.#waiting.length > 0) {
      const change = this.#waiting.shift()!;
      if (change === null) {
        this.#told.event("change", null);
        this.#read(this.#readAll());
      } else this.#handle(change);
    }
  }

  /** What comes meanwhile waits. */
  #read(script: Script<void>): void {
    this.#isReading = true;
    runAsync(script)
      .catch((error: unknown) => {
        // It has another name by now, or none: that is told next.
        if (!isMissing(error) && this.#listening !== null) this.#told.failure(error);
      })
      .then(() => {
        this.#isReading = false;
        this.#goOn();
      });
  }

  #handle(change: Change): void {
    const { kind, ino, isDirectory } = change;
    if (kind >= ChangeKind.created) this.#handleName(change);
    else if (kind === ChangeKind.freed) this.#handleEnd(ino);
    else {
      // libuv takes inotify's mark of a directory, IN_ISDIR, for more than a change.
      const type = isDirectory ? "rename" : "change";
      if (ino === this.#ino) this.#told.event(type, this.#base);
      if (kind === ChangeKind.links) return;
      for (const { directory, name } of this.#entries.get(ino) ?? []) {
        this.#tellName(type, directory, name);
      }
    }
  }

  #handleEnd(ino: number): void {
    for (const { directory, name } of this.#entries.get(ino) ?? []) this.#remove(directory, name);
    this.#directories.delete(ino);
    if (ino !== this.#ino) return;
    // inotify tells IN_DELETE_SELF, and IN_IGNORED: nothing comes any more.
    this.#told.event("rename", this.#base);
    this.#told.event("rename", this.#base);
    this.#ino = 0;
  }

  #handleName({ kind, ino, isDirectory, directory, name }: Change): void {
    const isHere = this.#directories.has(directory);
    if (kind === ChangeKind.removed || kind === ChangeKind.movedFrom) {
      const moved = this.#directories.get(ino);
      if (isHere) {
        this.#tellName("rename", directory, name);
        // What it was exchanged with may have its name already.
        if (this.#inodes.get(keyOf(directory, name)) === ino) this.#remove(directory, name);
      }
      if (moved !== undefined && kind === ChangeKind.movedFrom) moved.isAway = true;
      return;
    }
    if (isHere) {
      this.#remove(directory, name);
      this.#add(directory, name, ino);
      this.#tellName("rename", directory, name);
    }
    if (kind === ChangeKind.movedTo && ino === this.#ino) this.#told.event("rename", this.#base);
    if (isDirectory && this.#isRecursive) this.#arrive(ino, isHere ? directory : null, name);
  }

  /** A directory has come to a place, in the tree or outside. */
  #arrive(ino: number, parent: number | null, name: Buffer): void {
    const known = this.#directories.get(ino);
    if (ino === this.#ino) {
      if (known !== undefined) known.isAway = false;
    } else if (parent === null) this.#forget(ino);
    else if (known !== undefined) this.#directories.set(ino, { parent, name, isAway: false });
    else {
      this.#directories.set(ino, { parent, name, isAway: false });
      const path = this.#pathOf(ino);
      if (path !== null) this.#read(this.#readTree(ino, below(this.#path, path)));
    }
  }

  /** A directory has left the tree, with what lies below. */
  #forget(ino: number): void {
    if (!this.#directories.has(ino)) return;
    const lost = this.#treeOf(ino);
    for (const entries of [...this.#entries.values()]) {
      for (const { directory, name } of entries) {
        if (lost.has(directory)) this.#remove(directory, name);
      }
    }
    for (const directory of lost) this.#directories.delete(directory);
  }

  /** A directory, and those below; not what is on its way. */
  #treeOf(top: number): ReadonlySet<number> {
    const inside = new Set([top]);
    const outside = new Set<number>();
    for (const directory of this.#directories.keys()) {
      const walked: number[] = [];
      let ino: number | null = directory;
      while (ino !== null && !inside.has(ino) && !outside.has(ino)) {
        walked.push(ino);
        const known = this.#directories.get(ino);
        ino = known === undefined || known.isAway ? null : known.parent;
      }
      const found = ino !== null && inside.has(ino) ? inside : outside;
      for (const each of walked) found.add(each);
    }
    return inside;
  }

  #add(directory: number, name: Buffer, ino: number): void {
    this.#inodes.set(keyOf(directory, name), ino);
    const entries = this.#entries.get(ino);
    if (entries === undefined) this.#entries.set(ino, [{ directory, name }]);
    else entries.push({ directory, name });
  }

  #remove(directory: number, name: Buffer): void {
    const key = keyOf(directory, name);
    const ino = this.#inodes.get(key);
    if (ino === undefined) return;
    this.#inodes.delete(key);
    const left = this.#entries
      .get(ino)!
      .filter((entry) => keyOf(entry.directory, entry.name) !== key);
    if (left.length === 0) this.#entries.delete(ino);
    else this.#entries.set(ino, left);
  }

  #tellName(type: WatchEvent, directory: number, name: Buffer): void {
    const path = this.#pathOf(directory);
    if (path !== null) this.#told.event(type, path.length === 0 ? name : below(path, name));
  }

  /** From the top; null of what is on its way. */
  #pathOf(directory: number): Buffer | null {
    let path: Buffer = NO_NAME;
    for (let ino = directory; ; ) {
      const at = this.#directories.get(ino);
      if (at === undefined) return null;
      if (at.parent === null) return path;
      if (at.isAway) return null;
      path = path.length === 0 ? at.name : below(at.name, path);
      ino = at.parent;
    }
  }
}

const SLASH = 0x2f;
const NO_NAME = Buffer.alloc(0);

interface WatchPlan {
  readonly path: Uint8Array;
  readonly isPersistent: boolean;
  readonly isRecursive: boolean;
  readonly encoding: Encoding;
  readonly signal: AbortSignal | undefined;
}

/** Throws: ERR_INVALID_ARG_TYPE, ERR_INVALID_ARG_VALUE. */
function planOf(path: unknown, options: unknown): WatchPlan {
  const given = optionsOf<{ persistent: boolean; recursive: boolean; signal: AbortSignal }>(
    options,
  );
  return {
    path: pathBytes("filename", path),
    isPersistent: Boolean(given.persistent ?? true),
    isRecursive: checkBoolean("options.recursive", given.recursive, false),
    encoding: checkEncoding(given.encoding ?? undefined, "utf8"),
    signal: checkSignal(given.signal),
  };
}

/** The errors of a start, as Node gives them. */
function* starting(watch: Watch, path: unknown): Script<void> {
  try {
    yield* watch.start();
  } catch (error) {
    if (error instanceof HoldfastError) {
      const filename = pathString(path);
      Object.assign(error, { syscall: "watch", path: filename, filename });
    }
    throw error;
  }
}

/** Keeps the event loop going: nothing else does while changes are waited for. */
const KEEP_MS = 2 ** 30;

/** As fs.FSWatcher. Emits "change", "error", "close". */
export class FSWatcher extends EventEmitter implements nodeFs.FSWatcher {
  readonly #watch: Watch;
  readonly #keep: NodeJS.Timeout;
  #isClosed = false;

  /** Use `watch`. */
  constructor(host: Host, { path, isPersistent, isRecursive, encoding }: WatchPlan) {
    super();
    this.#watch = new Watch(host, path, isRecursive, {
      event: (type, name) => {
        this.#later("change", type, name === null ? null : encoded(name, encoding));
      },
      failure: (error) => this.#later("error", error),
      end: () => this.close(),
    });
    this.#keep = setInterval(() => {}, KEEP_MS);
    if (!isPersistent) this.#keep.unref();
  }

  *start(path: unknown): Script<void> {
    try {
      yield* starting(this.#watch, path);
    } catch (error) {
      clearInterval(this.#keep);
      throw error;
    }
  }

  /** What a listener throws is nobody's rejection. */
  #later(...event: [name: string, ...unknown[]]): void {
    process.nextTick(() => {
      if (!this.#isClosed) this.emit(...event);
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#watch.close();
    clearInterval(this.#keep);
    process.nextTick(() => this.emit("close"));
  }

  ref(): this {
    this.#keep.ref();
    return this;
  }

  unref(): this {
    this.#keep.unref();
    return this;
  }
}

/** fs.watch. Throws: ENOENT and what else `stat` does. */
export function watch(host: Host, path: unknown, options: unknown, listener: unknown): FSWatcher {
  const heard = typeof options === "function" ? options : listener;
  const plan = planOf(path, options);
  const isHeard = heard !== undefined && heard !== null;
  if (isHeard && typeof heard !== "function") {
    throw wrongType("listener", "of type function", heard);
  }
  const watcher = new FSWatcher(host, plan);
  runSync(watcher.start(path));
  if (isHeard) watcher.on("change", heard as Callback);
  const { signal } = plan;
  const close = (): void => watcher.close();
  if (signal?.aborted === true) process.nextTick(close);
  else if (signal !== undefined) {
    signal.addEventListener("abort", close, { once: true });
    watcher.once("close", () => signal.removeEventListener("abort", close));
  }
  return watcher;
}

interface WatchedEvent {
  readonly eventType: WatchEvent;
  readonly filename: string | Buffer | null;
}

/** fs.promises.watch: begins with the first `next`. Throws: AbortError by the signal. */
export async function* watchEvents(
  host: Host,
  path: FsPath,
  options: unknown,
): AsyncGenerator<WatchedEvent> {
  if (typeof options !== "object" && typeof options !== "string" && options !== undefined) {
    throw wrongType("options", "of type object", options);
  }
  const plan = planOf(path, options);
  const { persistent } = optionsOf<{ persistent: boolean }>(options);
  checkBoolean("options.persistent", persistent, true);
  const { signal } = plan;
  const aborted = (): AbortError => new AbortError(undefined, signal?.reason);
  if (signal?.aborted === true) throw aborted();
  const events: WatchedEvent[] = [];
  let end: { readonly error: unknown } | null = null;
  let wake = (): void => {};
  const finish = (error: unknown): void => {
    end ??= { error };
    wake();
  };
  const watched = new Watch(host, plan.path, plan.isRecursive, {
    event: (eventType, name) => {
      events.push({ eventType, filename: name === null ? null : encoded(name, plan.encoding) });
      wake();
    },
    failure: finish,
    end: () => finish(null),
  });
  const abort = (): void => finish(aborted());
  signal?.addEventListener("abort", abort, { once: true });
  const keep = setInterval(() => {}, KEEP_MS);
  if (!plan.isPersistent) keep.unref();
  try {
    await runAsync(starting(watched, path));
    for (;;) {
      const next = events.shift();
      if (next !== undefined) {
        yield next;
        continue;
      }
      const ended = end as { readonly error: unknown } | null;
      if (ended?.error === null) return;
      if (ended !== null) throw ended.error;
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    clearInterval(keep);
    signal?.removeEventListener("abort", abort);
    watched.close();
  }
}
