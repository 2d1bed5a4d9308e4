/** fs.watchFile: looking at a file's attributes again and again, as uv_fs_poll does. */
import { EventEmitter } from "node:events";
import type * as nodeFs from "node:fs";
import { resolve } from "node:path/posix";
import type { Ino } from "../../base/quantities.ts";
import type { InodeInfo } from "../../iomap/contract.ts";
import { checkInteger, wrongType } from "../arguments.ts";
import type { OpenThing } from "../core.ts";
import { Stats } from "../stats.ts";
import { checkBoolean, optionsOf, pathBytes, pathString } from "./arguments.ts";
import type { Host } from "./host.ts";
import { tryStat } from "./names.ts";
import { type Callback, runAsync } from "./script.ts";
import { statsFor } from "./stats.ts";

const INTERVAL_MS = 5007;

const NEVER = { seconds: 0, nanoseconds: 0 };
const NOTHING: InodeInfo = {
  ino: 0 as Ino,
  generation: 0,
  type: "file",
  mode: 0,
  uid: 0,
  gid: 0,
  project: 0,
  linkCount: 0,
  size: 0,
  sectors: 0,
  accessTime: NEVER,
  modifyTime: NEVER,
  changeTime: NEVER,
  birthTime: NEVER,
  deviceMajor: 0,
  deviceMinor: 0,
  restriction: null,
  dax: false,
  hasExtents: false,
  isInline: false,
};

/** Of what is not there: zeroes. */
class NoStats extends Stats {
  override readonly mode = 0;

  constructor() {
    super(NOTHING, 0, false);
  }

  override isFile(): boolean {
    return false;
  }
}

const missing = new NoStats();

/** As fs.StatWatcher. Emits "change" and "stop". */
export class StatWatcher extends EventEmitter implements nodeFs.StatWatcher, OpenThing {
  readonly #host: Host;
  readonly #bytes: Uint8Array;
  readonly #options: unknown;
  readonly #timer: NodeJS.Timeout;
  readonly #first: NodeJS.Immediate;
  /** What was there last; null before the first look. */
  #last: Stats | null = null;
  #isThere = true;
  #isLooking = false;
  #isStopped = false;

  /** Use `watchFile`. `options`: whether stats are in bigints. */
  constructor(host: Host, path: Uint8Array, intervalMs: number, options: unknown) {
    super();
    this.#host = host;
    this.#bytes = path;
    this.#options = options;
    this.#timer = setInterval(() => void this.#look(), intervalMs);
    this.#first = setImmediate(() => void this.#look());
    host.core.open.add(this);
  }

  async #look(): Promise<void> {
    if (this.#isLooking || this.#isStopped) return;
    this.#isLooking = true;
    // Whatever is wrong: nothing can be seen there.
    const found = await runAsync(tryStat(this.#host, this.#bytes)).catch(() => null);
    this.#isLooking = false;
    if (this.#isStopped) return;
    const last = this.#last;
    const wasThere = this.#isThere;
    this.#isThere = found !== null;
    if (found === null) {
      if (wasThere) this.#tell(missing, last ?? missing);
      this.#last ??= missing;
      return;
    }
    this.#last = found;
    if (last !== null && (!wasThere || !isSame(last, found))) this.#tell(found, last);
  }

  #tell(now: Stats, before: Stats): void {
    const stats = [now, before].map((each) => statsFor(each, this.#options));
    process.nextTick(() => {
      if (!this.#isStopped) this.emit("change", ...stats);
    });
  }

  stop(): void {
    if (this.#isStopped) return;
    this.#isStopped = true;
    clearInterval(this.#timer);
    clearImmediate(this.#first);
    this.#host.core.open.delete(this);
    process.nextTick(() => this.emit("stop"));
  }

  closeSync(): void {
    this.stop();
  }

  ref(): this {
    this.#timer.ref();
    return this;
  }

  unref(): this {
    this.#timer.unref();
    return this;
  }
}

/** As uv_fs_poll compares: all but the access time. */
function isSame(a: Stats, b: Stats): boolean {
  const isSameTime = (name: "change" | "modify" | "birth"): boolean =>
    a.times[name].seconds === b.times[name].seconds &&
    a.times[name].nanoseconds === b.times[name].nanoseconds;
  return (
    a.ino === b.ino &&
    a.mode === b.mode &&
    a.size === b.size &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.nlink === b.nlink &&
    a.generation === b.generation &&
    isSameTime("change") &&
    isSameTime("modify") &&
    isSameTime("birth")
  );
}

/** The files that are looked at, by path. */
export class StatWatchers {
  readonly #host: Host;
  readonly #watchers = new Map<string, StatWatcher>();

  constructor(host: Host) {
    this.#host = host;
  }

  watchFile(path: unknown, options: unknown, listener: unknown): StatWatcher {
    const heard = typeof options === "function" ? options : listener;
    const bytes = pathBytes("filename", path);
    const key = keyOf(path);
    const given = optionsOf<{ interval: number; persistent: boolean; bigint: boolean }>(options);
    const interval = checkInteger("interval", given.interval ?? INTERVAL_MS, 0, 2 ** 32 - 1);
    const isPersistent = checkBoolean("options.persistent", given.persistent, true);
    if (typeof heard !== "function") throw wrongType("listener", "of type function", heard);
    this.#host.core.assertOpen();
    let watcher = this.#watchers.get(key);
    if (watcher === undefined) {
      const at = path instanceof Uint8Array ? bytes : Buffer.from(key);
      const made = new StatWatcher(this.#host, at, interval, given);
      if (!isPersistent) made.unref();
      this.#watchers.set(key, made);
      // By then the path may be looked at by another.
      made.once("stop", () => {
        if (this.#watchers.get(key) === made) this.#watchers.delete(key);
      });
      watcher = made;
    }
    watcher.on("change", heard as Callback);
    return watcher;
  }

  unwatchFile(path: unknown, listener: unknown): void {
    pathBytes("filename", path);
    const watcher = this.#watchers.get(keyOf(path));
    if (watcher === undefined) return;
    if (typeof listener === "function") watcher.removeListener("change", listener as Callback);
    else watcher.removeAllListeners("change");
    if (watcher.listenerCount("change") > 0) return;
    this.#watchers.delete(keyOf(path));
    watcher.stop();
  }
}

function keyOf(path: unknown): string {
  return resolve("/", pathString(path));
}
