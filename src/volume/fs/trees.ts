/** What the face does to whole trees: removing and copying. */

import { resolve } from "node:path/posix";
import { wrongType } from "../arguments.ts";
import * as calls from "../calls.ts";
import { PERMISSIONS } from "../mode-bits.ts";
import type { Stats } from "../stats.ts";
import { checkBoolean, optionsOf, pathBytes, pathString } from "./arguments.ts";
import { copyFile } from "./contents.ts";
import type { Host } from "./host.ts";
import { below, stat, tryStat } from "./names.ts";
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
    yield* unlessGone(host, calls.unlink(bytes));
    return;
  }
  if (!recursive) {
    const message = "Path is a directory";
    throw treeError("ERR_FS_EISDIR", message, "rm", pathString(path));
  }
  yield* removeTree(host, bytes);
}

/** Deepest first. */
function* removeTree(host: Host, path: Uint8Array): Script<void> {
  for (const { nameBytes, type } of (yield* unlessGone(host, calls.readdirEntries(path))) ?? []) {
    const under = below(path, nameBytes);
    if (type === "directory") yield* removeTree(host, under);
    else yield* unlessGone(host, calls.unlink(under));
  }
  yield* unlessGone(host, calls.rmdir(path));
}

/** What somebody else removes meanwhile is gone as well: null then. */
function* unlessGone<T>(host: Host, call: calls.Call<T>): Script<T | null> {
  try {
    return yield* host.call(call);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "ENOENT") throw error;
    return null;
  }
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
  const { filter = () => true } = given;
  if (typeof filter !== "function") throw wrongType("options.filter", "of type function", filter);
  const dereference = checkBoolean("options.dereference", given.dereference, false);
  const verbatimSymlinks = checkBoolean("options.verbatimSymlinks", given.verbatimSymlinks, false);
  if (dereference && verbatimSymlinks) throw optionPairError();
  const copy = new TreeCopy(host, {
    dereference,
    errorOnExist: checkBoolean("options.errorOnExist", given.errorOnExist, false),
    filter,
    force: checkBoolean("options.force", given.force, true),
    mode: given.mode ?? 0,
    preserveTimestamps: checkBoolean("options.preserveTimestamps", given.preserveTimestamps, false),
    recursive: checkBoolean("options.recursive", given.recursive, false),
    verbatimSymlinks,
  });
  const [from, to] = [pathBytes("src", source), pathBytes("dest", destination)];
  yield* copy.assertApart(from, to);
  yield* copy.entry(from, to, true);
}

function optionPairError(): Error {
  const pair = `"dereference" cannot be used in combination with option "verbatimSymlinks"`;
  const error = new TypeError(`Option ${pair}`);
  return Object.assign(error, { code: "ERR_INCOMPATIBLE_OPTION_PAIR" });
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
    if (found === null) yield* host.call(calls.chmod(to, stats.mode & PERMISSIONS));
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
    if (!preserveTimestamps) return;
    yield* host.call(calls.utimes(to, stats.atime, stats.mtime, true));
  }

  *#symlink(from: Uint8Array, to: Uint8Array, found: Stats | null): Script<void> {
    const host = this.#host;
    let target: Uint8Array = yield* host.call(calls.readlink(from));
    if (!this.#options.verbatimSymlinks && target[0] !== SLASH) target = resolvedAt(from, target);
    if (found?.isSymbolicLink() === true) {
      yield* this.#assertLinksApart(target, to);
      yield* host.call(calls.unlink(to));
    }
    yield* host.call(calls.symlink(target, to));
  }

  /** As Node: a link is not replaced by one to what it leads to, or lies in. */
  *#assertLinksApart(target: Uint8Array, to: Uint8Array): Script<void> {
    const found = yield* this.#host.call(calls.readlink(to));
    const [wanted, led] = [namesOf(target), namesOf(resolvedAt(to, found))];
    if (wanted.every((name, index) => name === led[index])) {
      const message = "cannot copy a link to a subdirectory of what it leads to";
      throw treeError("ERR_FS_CP_EINVAL", message, "cp", pathString(to));
    }
  }
}

/** Where a symlink's target leads, without "." and "..". */
function resolvedAt(link: Uint8Array, target: Uint8Array): Buffer {
  return Buffer.from(resolve("/", latin1(parentOf(link)), latin1(target)), "latin1");
}

function namesOf(path: Uint8Array): string[] {
  return resolve("/", latin1(path))
    .split("/")
    .filter((name) => name !== "");
}

/** Bytes as text that can be made bytes again: names need not be UTF-8. */
function latin1(path: Uint8Array): string {
  return Buffer.from(path).toString("latin1");
}

const SLASH = 0x2f;

/** The path without its last name; of the root itself. */
function parentOf(path: Uint8Array): Uint8Array {
  let end = path.length;
  while (end > 0 && path[end - 1] === SLASH) end--;
  while (end > 0 && path[end - 1] !== SLASH) end--;
  return end === 0 ? Buffer.from("/") : path.subarray(0, end);
}
