/** Names and attributes of the face: what needs no open file. */
import { randomBytes } from "node:crypto";
import type * as nodeFs from "node:fs";
import { constants } from "node:fs";
import { HoldfastError } from "../../base/errors.ts";
import { checkInteger, checkMode, wrongType } from "../arguments.ts";
import * as calls from "../calls.ts";
import type { FileType } from "../../iomap/contract.ts";
import type { DirectoryEntry, Stats } from "../stats.ts";
import {
  encoded,
  type Encoding,
  nameEncoding,
  optionsOf,
  pathBytes,
  pathString,
} from "./arguments.ts";
import { checkLength, truncate } from "./contents.ts";
import { parseFlags } from "./flags.ts";
import type { Host } from "./host.ts";
import { as, type Script } from "./script.ts";

const { F_OK, R_OK, W_OK, X_OK } = constants;

export function stat(host: Host, path: unknown, follow = true): Script<Stats> {
  return host.call(calls.stat(pathBytes("path", path), follow));
}

/** As `stat`; null where there is nothing. */
export function* tryStat(host: Host, path: unknown, follow = true): Script<Stats | null> {
  try {
    return yield* stat(host, path, follow);
  } catch (error) {
    if (!isMissing(error)) throw error;
    return null;
  }
}

export function isMissing(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "ENOENT" || code === "ENOTDIR";
}

/** Who opens the image may do everything, as root: all but running what nobody may run. */
export function* access(host: Host, path: unknown, mode: unknown = F_OK): Script<void> {
  const wanted = checkInteger("mode", mode ?? F_OK, F_OK, R_OK | W_OK | X_OK);
  const context = { syscall: "access", path: pathString(path) };
  const stats = yield* as(context, stat(host, path));
  if ((wanted & W_OK) !== 0 && host.core.readOnly) {
    throw new HoldfastError("EROFS", "the volume is mounted read-only", context);
  }
  if ((wanted & X_OK) !== 0 && !stats.isDirectory() && (stats.mode & 0o111) === 0) {
    throw new HoldfastError("EACCES", "is a file that nobody may execute", context);
  }
}

export function* exists(host: Host, path: unknown): Script<boolean> {
  try {
    yield* stat(host, path);
    return true;
  } catch {
    return false;
  }
}

export function* mkdir(host: Host, path: unknown, options: unknown): Script<string | undefined> {
  const given =
    typeof options === "number" || typeof options === "string"
      ? { mode: options }
      : optionsOf<calls.MkdirOptions>(options);
  const bytes = pathBytes("path", path);
  const { mode, recursive } = given as calls.MkdirOptions;
  if (recursive !== undefined && typeof recursive !== "boolean") {
    throw wrongType("options.recursive", "of type boolean", recursive);
  }
  const made = { ...(mode === undefined ? {} : { mode }), recursive: recursive === true };
  return yield* host.call(calls.mkdir(bytes, made));
}

const RANDOM_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
const RANDOM_COUNT = 6;
const RANDOM_TRIES = 100;

export function* mkdtemp(host: Host, prefix: unknown, options: unknown): Script<string | Buffer> {
  const encoding = nameEncoding(options);
  const start = Buffer.from(pathBytes("prefix", prefix));
  for (let tries = 1; ; tries++) {
    const letters = [...randomBytes(RANDOM_COUNT)].map((byte) => RANDOM_LETTERS[byte % 62]);
    const path = Buffer.concat([start, Buffer.from(letters.join(""))]);
    try {
      yield* host.call(calls.mkdir(path, { mode: 0o700 }));
      return encoded(path, encoding);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "EEXIST" && tries < RANDOM_TRIES) continue;
      if (error instanceof HoldfastError) {
        error.syscall = "mkdtemp";
        error.path = `${pathString(start)}XXXXXX`;
      }
      throw error;
    }
  }
}

export function* rename(host: Host, from: unknown, to: unknown): Script<void> {
  const [oldPath, newPath] = [pathBytes("oldPath", from), pathBytes("newPath", to)];
  yield* host.call(calls.renamePath(oldPath, newPath));
}

export function* link(host: Host, existing: unknown, path: unknown): Script<void> {
  const [from, to] = [pathBytes("existingPath", existing), pathBytes("newPath", path)];
  yield* host.call(calls.link(from, to));
}

const SYMLINK_TYPES: readonly unknown[] = [undefined, null, "dir", "file", "junction"];

export function* symlink(host: Host, target: unknown, path: unknown, type: unknown): Script<void> {
  if (!SYMLINK_TYPES.includes(type))
    throw wrongType("type", "one of 'dir', 'file', 'junction'", type);
  const [to, at] = [pathBytes("target", target), pathBytes("path", path)];
  yield* host.call(calls.symlink(to, at));
}

export function* unlink(host: Host, path: unknown): Script<void> {
  yield* host.call(calls.unlink(pathBytes("path", path)));
}

export function* rmdir(host: Host, path: unknown): Script<void> {
  yield* host.call(calls.rmdir(pathBytes("path", path)));
}

export function* readlink(host: Host, path: unknown, options: unknown): Script<string | Buffer> {
  const encoding = nameEncoding(options);
  return encoded(yield* host.call(calls.readlink(pathBytes("path", path))), encoding);
}

export function* chmod(host: Host, path: unknown, mode: unknown): Script<void> {
  const bytes = pathBytes("path", path);
  if (mode === undefined || mode === null) throw wrongType("mode", "of type number", mode);
  yield* host.call(calls.chmod(bytes, checkMode("mode", mode, 0)));
}

export function* chown(
  host: Host,
  path: unknown,
  owner: readonly [unknown, unknown],
  follow: boolean,
): Script<void> {
  yield* host.call(calls.chown(pathBytes("path", path), owner[0], owner[1], follow));
}

export function* utimes(
  host: Host,
  path: unknown,
  times: readonly [unknown, unknown],
  follow: boolean,
): Script<void> {
  yield* host.call(calls.utimes(pathBytes("path", path), times[0], times[1], follow));
}

/** By opening it, as Node does: errors name that. */
export function* truncatePath(host: Host, path: unknown, length: unknown): Script<void> {
  const bytes = pathBytes("path", path);
  yield* host.withFile(bytes, parseFlags("r+", "r+"), undefined, (file) =>
    truncate(file, checkLength(length)),
  );
}

const SLASH = 0x2f;

/** The path without symlinks, "." and "..". Errors name the part that is wrong. */
export function* realpath(host: Host, path: unknown, options: unknown): Script<string | Buffer> {
  const encoding = nameEncoding(options);
  let left = namesOf(pathBytes("path", path));
  let done: Buffer[] = [];
  for (let name = left.shift(); name !== undefined; name = left.shift()) {
    if (name.equals(DOT)) continue;
    if (name.equals(DOT_DOT)) {
      done.pop();
      continue;
    }
    const next = joined([...done, name]);
    const stats = yield* stat(host, next, false);
    if (!stats.isSymbolicLink()) {
      done.push(name);
      continue;
    }
    yield* stat(host, next);
    const target = yield* host.call(calls.readlink(next));
    if (target[0] === SLASH) done = [];
    left = [...namesOf(target), ...left];
  }
  return encoded(joined(done), encoding);
}

const DOT = Buffer.from(".");
const DOT_DOT = Buffer.from("..");

function namesOf(path: Uint8Array): Buffer[] {
  return Buffer.from(path)
    .toString("latin1")
    .split("/")
    .filter((name) => name !== "")
    .map((name) => Buffer.from(name, "latin1"));
}

function joined(names: readonly Buffer[]): Buffer {
  if (names.length === 0) return Buffer.from("/");
  return Buffer.concat(names.flatMap((name) => [Buffer.from("/"), name]));
}

/** A name below a directory, both as bytes. */
export function below(directory: Uint8Array, name: Uint8Array): Buffer {
  const isEnded = directory.at(-1) === SLASH;
  return Buffer.concat([directory, Buffer.from(isEnded ? "" : "/"), name]);
}

/** As fs.Dirent. */
export class Dirent implements Record<keyof nodeFs.Dirent, unknown> {
  readonly name: string | Buffer;
  readonly parentPath: string;
  /** As `parentPath`, under the name it had. */
  readonly path: string;
  readonly #type: FileType;

  constructor(name: string | Buffer, parentPath: string, type: FileType) {
    this.name = name;
    this.parentPath = parentPath;
    this.path = parentPath;
    this.#type = type;
  }

  isFile(): boolean {
    return this.#type === "file";
  }

  isDirectory(): boolean {
    return this.#type === "directory";
  }

  isSymbolicLink(): boolean {
    return this.#type === "symlink";
  }

  isFIFO(): boolean {
    return this.#type === "fifo";
  }

  isSocket(): boolean {
    return this.#type === "socket";
  }

  isCharacterDevice(): boolean {
    return this.#type === "character-device";
  }

  isBlockDevice(): boolean {
    return this.#type === "block-device";
  }
}

/** An entry of a directory that is listed. */
export interface Listed {
  readonly entry: DirectoryEntry;
  /** From the directory that is listed. */
  readonly path: Uint8Array;
}

/** A directory's entries; with `isRecursive` those below, too, each after its directory. */
export function* list(host: Host, path: unknown, isRecursive: boolean): Script<Listed[]> {
  const listed: Listed[] = [];
  const root = pathBytes("path", path);
  const directories = [{ bytes: root, prefix: NO_NAME }];
  for (const { bytes, prefix } of directories) {
    for (const entry of yield* host.call(calls.readdirEntries(bytes))) {
      const { nameBytes, type } = entry;
      const relative = prefix.length === 0 ? nameBytes : below(prefix, nameBytes);
      listed.push({ entry, path: relative });
      if (!isRecursive || type !== "directory") continue;
      directories.push({ bytes: below(bytes, nameBytes), prefix: relative });
    }
  }
  return listed;
}

const NO_NAME: Uint8Array = Buffer.alloc(0);

export function* readdir(
  host: Host,
  path: unknown,
  options: unknown,
): Script<(string | Buffer)[] | Dirent[]> {
  const encoding = nameEncoding(options);
  const given = optionsOf<{ withFileTypes: boolean; recursive: boolean }>(options);
  if (given.withFileTypes !== true && given.recursive !== true && encoding === "utf8") {
    return yield* host.call(calls.readdir(pathBytes("path", path)));
  }
  const listed = yield* list(host, path, given.recursive === true);
  if (given.withFileTypes !== true) return listed.map((each) => encoded(each.path, encoding));
  return listed.map((each) => direntOf(each, encoding));
}

export function direntOf({ entry }: Listed, encoding: Encoding): Dirent {
  const { name, nameBytes, parentPath, type } = entry;
  return new Dirent(encoding === "utf8" ? name : encoded(nameBytes, encoding), parentPath, type);
}
