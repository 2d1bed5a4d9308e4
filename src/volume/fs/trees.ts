/** What the face does to whole trees: removing and copying. */

import { resolve } from "node:path/posix";
import * as calls from "../calls.ts";
import type { Stats } from "../stats.ts";
import { checkBoolean, optionsOf, pathBytes, pathString } from "./arguments.ts";
import { copyFile } from "./contents.ts";
import type { Host } from "./host.ts";
import { below, isMissing, stat, tryStat } from "./names.ts";
import { type Script, take } from "./script.ts";

/** An error of Node's own, with its code: no number of the system's stands for it. */
function treeError(code: string, message: string, syscall: string, path: string): Error {
  return Object.assign(new Error(`${message}: ${syscall} '${path}'`), {
    name: "SystemError",
    code,
    syscall,
    path,
  });
}

interface RmOptions {
  readonly force: boolean;
  readonly recursive: boolean;
}

export function* rm(host: Host, path: unknown, options: unknown): Script<void> {
  const given = optionsOf<RmOptions>(options);
  const force = checkBoolean("options.force", given.force, false);
  const recursive = checkBoolean("options.recursive", given.recursive, false);
  const bytes = pathBytes("path", path);
  const stats = force ? yield* tryStat(host, bytes, false) : yield* stat(host, bytes, false);
  if (stats === null) return;
  if (!stats.isDirectory()) {
    yield* host.call(calls.unlink(bytes));
    return;
  }
  if (!recursive) {
    const message = "Path is a directory";
    throw treeError("ERR_FS_EISDIR", message, "rm", pathString(path));
  }
  yield* removeTree(host, bytes);
}

/** Deepest first. What somebody else removes meanwhile is gone as well. */
function* removeTree(host: Host, path: Uint8Array): Script<void> {
  for (const { nameBytes, type } of yield* host.call(calls.readdirEntries(path))) {
    const under = below(path, nameBytes);
    if (type === "directory") {
      yield* removeTree(host, under);
      continue;
    }
    try {
      yield* host.call(calls.unlink(under));
    } catch (error) {
      if (!isMissing(error)) throw error;
    }
  }
  yield* host.call(calls.rmdir(path));
}

interface CopyOptions {
  readonly dereference: boolean;
  readonly errorOnExist: boolean;
  readonly filter: (source: string, destination: string) => boolean | Promise<boolean>;
  readonly force: boolean;
  readonly mode: number;
  readonly preserveTimestamps: boolean;
  readonly recursive: boolean;
  readonly verbatimSymlinks: boolean;
}

/** A tree inside the volume, as `cp` of Node copies one. */
export function* cp(
  host: Host,
  source: unknown,
  destination: unknown,
  options: unknown,
): Script<void> {
  const given = optionsOf<CopyOptions>(options);
  const copy = new TreeCopy(host, {
    dereference: checkBoolean("options.dereference", given.dereference, false),
    errorOnExist: checkBoolean("options.errorOnExist", given.errorOnExist, false),
    filter: given.filter ?? (() => true),
    force: checkBoolean("options.force", given.force, true),
    mode: given.mode ?? 0,
    preserveTimestamps: checkBoolean("options.preserveTimestamps", given.preserveTimestamps, false),
    recursive: checkBoolean("options.recursive", given.recursive, false),
    verbatimSymlinks: checkBoolean("options.verbatimSymlinks", given.verbatimSymlinks, false),
  });
  const [from, to] = [pathBytes("src", source), pathBytes("dest", destination)];
  yield* copy.assertApart(from, to);
  yield* copy.entry(from, to, true);
}

class TreeCopy {
  readonly #host: Host;
  readonly #options: CopyOptions;

  constructor(host: Host, options: CopyOptions) {
    this.#host = host;
    this.#options = options;
  }

  /** Throws where the destination is the source, or lies in it. */
  *assertApart(from: Uint8Array, to: Uint8Array): Script<void> {
    const source = yield* stat(this.#host, from, this.#options.dereference);
    const target = yield* tryStat(this.#host, to, this.#options.dereference);
    if (target !== null && target.ino === source.ino) {
      throw treeError("ERR_FS_CP_EINVAL", "src and dest cannot be the same", "cp", pathString(to));
    }
    if (!source.isDirectory()) return;
    for (let at = parentOf(to); ; at = parentOf(at)) {
      const above = yield* tryStat(this.#host, at);
      if (above !== null && above.ino === source.ino) {
        const message = "cannot copy a directory to a subdirectory of self";
        throw treeError("ERR_FS_CP_EINVAL", message, "cp", pathString(to));
      }
      if (at.length <= 1) return;
    }
  }

  *entry(from: Uint8Array, to: Uint8Array, isFirst: boolean): Script<void> {
    const [source, destination] = [pathString(from), pathString(to)];
    const isWanted = yield* take({
      sync: () => this.#filterSync(source, destination),
      async: async () => this.#options.filter(source, destination),
    });
    if (!isWanted) return;
    const host = this.#host;
    if (isFirst) yield* host.call(calls.mkdir(parentOf(to), { recursive: true }));
    const stats = yield* stat(host, from, this.#options.dereference);
    const found = yield* tryStat(host, to, this.#options.dereference);
    this.#assertKinds(stats, found, destination);
    if (stats.isDirectory()) yield* this.#directory(from, to, stats, found);
    else if (stats.isFile()) yield* this.#file(from, to, stats, found);
    else if (stats.isSymbolicLink()) yield* this.#symlink(from, to, found);
    else {
      const message = "cannot copy a socket, a FIFO or a device";
      throw treeError("ERR_FS_CP_UNKNOWN", message, "cp", destination);
    }
  }

  #filterSync(source: string, destination: string): boolean {
    const wanted = this.#options.filter(source, destination);
    if (typeof wanted === "boolean") return wanted;
    throw new TypeError("options.filter of cpSync must return a boolean, not a promise");
  }

  #assertKinds(stats: Stats, found: Stats | null, destination: string): void {
    if (stats.isDirectory() && !this.#options.recursive) {
      const message = "Recursive option not enabled, cannot copy a directory";
      throw treeError("ERR_FS_EISDIR", message, "cp", destination);
    }
    if (found === null || stats.isDirectory() === found.isDirectory()) return;
    const [code, message] = stats.isDirectory()
      ? ["ERR_FS_CP_DIR_TO_NON_DIR", "cannot overwrite non-directory with directory"]
      : ["ERR_FS_CP_NON_DIR_TO_DIR", "cannot overwrite directory with non-directory"];
    throw treeError(code!, message!, "cp", destination);
  }

  *#directory(from: Uint8Array, to: Uint8Array, stats: Stats, found: Stats | null): Script<void> {
    const host = this.#host;
    if (found === null) yield* host.call(calls.mkdir(to));
    for (const { nameBytes } of yield* host.call(calls.readdirEntries(from))) {
      yield* this.entry(below(from, nameBytes), below(to, nameBytes), false);
    }
    if (found === null) yield* host.call(calls.chmod(to, stats.mode & 0o7777));
  }

  *#file(from: Uint8Array, to: Uint8Array, stats: Stats, found: Stats | null): Script<void> {
    const host = this.#host;
    const { force, errorOnExist, mode, preserveTimestamps } = this.#options;
    if (found !== null && !force) {
      if (!errorOnExist) return;
      throw treeError("ERR_FS_CP_EEXIST", "Target already exists", "cp", pathString(to));
    }
    if (found !== null) yield* host.call(calls.unlink(to));
    yield* copyFile(host, from, to, mode);
    yield* host.call(calls.chmod(to, stats.mode & 0o7777));
    if (!preserveTimestamps) return;
    yield* host.call(calls.utimes(to, stats.atime, stats.mtime, true));
  }

  *#symlink(from: Uint8Array, to: Uint8Array, found: Stats | null): Script<void> {
    const host = this.#host;
    let target: Uint8Array = yield* host.call(calls.readlink(from));
    if (!this.#options.verbatimSymlinks && target[0] !== SLASH) {
      target = below(parentOf(from), target);
    }
    if (found !== null) {
      yield* this.#assertLinksApart(target, to);
      yield* host.call(calls.unlink(to));
    }
    yield* host.call(calls.symlink(target, to));
  }

  /** As Node: a link is not replaced by one to what it leads to, or lies in. */
  *#assertLinksApart(target: Uint8Array, to: Uint8Array): Script<void> {
    const found = yield* this.#host.call(calls.readlink(to));
    const present = found[0] === SLASH ? found : below(parentOf(to), found);
    const [wanted, led] = [namesOf(target), namesOf(present)];
    if (wanted.every((name, index) => name === led[index])) {
      const message = "cannot copy a link to a subdirectory of what it leads to";
      throw treeError("ERR_FS_CP_EINVAL", message, "cp", pathString(to));
    }
  }
}

function namesOf(path: Uint8Array): string[] {
  return resolve("/", pathString(path))
    .split("/")
    .filter((name) => name !== "");
}

const SLASH = 0x2f;

/** The path without its last name; of the root itself. */
function parentOf(path: Uint8Array): Uint8Array {
  let end = path.length;
  while (end > 0 && path[end - 1] === SLASH) end--;
  while (end > 0 && path[end - 1] !== SLASH) end--;
  return end === 0 ? Buffer.from("/") : path.subarray(0, end);
}
