/**
 * The face of a volume that programs know: node:fs, with its names, arguments, answers and codes of errors. What is
 * left out is listed in docs/fs.md.
 *
 * Each operation is written once (names.ts, contents.ts, open-files.ts, trees.ts) and shown in three forms: blocking,
 * with a callback, and as a promise.
 */
import * as nodeFs from "node:fs";
import { promisify } from "node:util";
import * as calls from "../calls.ts";
import type { VolumeCore } from "../core.ts";
import { checkPosition, type FsPath, optionsOf, pathString } from "./arguments.ts";
import * as contents from "./contents.ts";
import { type DirectForms, directOperations } from "./direct.ts";
import { opendir } from "./directory.ts";
import {
  type FileHandleAdditions,
  isStreamed,
  type StreamMaker,
  VolumeFileHandle,
} from "./file-handle.ts";
import { Host } from "./host.ts";
import * as names from "./names.ts";
import * as files from "./open-files.ts";
import { as, checkCallback, runAsync, runSync, runWithCallback, type Script } from "./script.ts";
import { spaceFor, statsFor } from "./stats.ts";
import { cp, rm } from "./trees.ts";
import { watch, watchEvents } from "./watch.ts";
import { StatWatchers } from "./watch-file.ts";

type NodeFs = typeof nodeFs;

// biome-ignore lint/suspicious/noExplicitAny: each operation checks what it is given
type Operation = (...args: any[]) => Script<any>;

/** On paths: in all three forms, by these names. */
function pathOperations(host: Host) {
  return {
    access: (path, mode) => names.access(host, path, mode),
    appendFile: (to, data, options) => contents.writeFile(host, to, data, options, "a"),
    chmod: (path, mode) => names.chmod(host, path, mode),
    chown: (path, uid, gid) => names.chown(host, path, [uid, gid], true),
    copyFile: (from, to, mode) => contents.copyFile(host, from, to, mode),
    cp: (from, to, options) => cp(host, from, to, options),
    lchown: (path, uid, gid) => names.chown(host, path, [uid, gid], false),
    link: (existing, path) => names.link(host, existing, path),
    lstat: (path, options) => statOf(host, path, options, false),
    lutimes: (path, atime, mtime) => names.utimes(host, path, [atime, mtime], false),
    mkdir: (path, options) => names.mkdir(host, path, options),
    mkdtemp: (prefix, options) => names.mkdtemp(host, prefix, options),
    opendir: (path, options) => opendir(host, path, options),
    readFile: (from, options) => contents.readFile(host, from, options),
    readdir: (path, options) => names.readdir(host, path, options),
    readlink: (path, options) => names.readlink(host, path, options),
    realpath: (path, options) => names.realpath(host, path, options),
    rename: (from, to) => names.rename(host, from, to),
    rm: (path, options) => rm(host, path, options),
    rmdir: (path) => names.rmdir(host, path),
    stat: (path, options) => statOf(host, path, options, true),
    statfs: (path, options) => spaceOf(host, path, options),
    symlink: (target, path, type) => names.symlink(host, target, path, type),
    truncate: (path, length) => names.truncatePath(host, path, length),
    unlink: (path) => names.unlink(host, path),
    utimes: (path, atime, mtime) => names.utimes(host, path, [atime, mtime], true),
    writeFile: (to, data, options) => contents.writeFile(host, to, data, options, "w"),
  } satisfies Record<string, Operation>;
}

/** On descriptors: blocking and with callbacks. */
function fileOperations(host: Host) {
  return {
    close: (fd) => files.closeFile(host, fd),
    fchmod: (fd, mode) => files.chmodFile(host, fd, mode),
    fchown: (fd, uid, gid) => files.chownFile(host, fd, [uid, gid]),
    fdatasync: (fd) => files.syncFile(host, fd, "fdatasync"),
    fstat: (fd, options) => statOfFile(host, fd, options),
    fsync: (fd) => files.syncFile(host, fd, "fsync"),
    ftruncate: (fd, length) => files.truncateFile(host, fd, length),
    futimes: (fd, atime, mtime) => files.setFileTimes(host, fd, [atime, mtime]),
    open: (path, flags, mode) => files.openFile(host, path, flags, mode),
  } satisfies Record<string, Operation>;
}

function* statOf(host: Host, path: unknown, options: unknown, follow: boolean) {
  return statsFor(yield* names.stat(host, path, follow), options);
}

function* statOfFile(host: Host, fd: unknown, options: unknown) {
  return statsFor(yield* files.statFile(host, fd), options);
}

function* spaceOf(host: Host, path: unknown, options: unknown) {
  yield* as({ syscall: "statfs", path: pathString(path) }, names.stat(host, path));
  return spaceFor(yield* host.call(calls.statfs()), options);
}

/** Its errors name the whole path, as the system's. */
function nativeRealpath(host: Host): Operation {
  return (path, options) =>
    as({ syscall: "realpath", path: pathString(path) }, names.realpath(host, path, options));
}

type PathName = keyof ReturnType<typeof pathOperations>;
type FileName = keyof ReturnType<typeof fileOperations>;
type TransferName = "read" | "readv" | "write" | "writev";
type CommonName = PathName | FileName | TransferName | "exists";

/** What of node:fs a volume has. */
export type VolumeFs = Pick<
  NodeFs,
  | CommonName
  | `${CommonName}Sync`
  | "constants"
  | "createReadStream"
  | "createWriteStream"
  | "unwatchFile"
  | "watch"
  | "watchFile"
> &
  DirectForms & {
    readonly promises: VolumeFsPromises;
  };

/** What of node:fs/promises it has. */
export type VolumeFsPromises = Pick<NodeFs["promises"], PathName | "constants" | "watch"> & {
  open(...args: Parameters<NodeFs["promises"]["open"]>): Promise<VolumeFsFileHandle>;
};

/** Node's FileHandle, and what a file of a volume has beyond that. */
export type VolumeFsFileHandle = nodeFs.promises.FileHandle & FileHandleAdditions;

type Functions = Record<string, unknown>;

function syncForms(operations: Record<string, Operation>): Functions {
  const forms = Object.entries(operations).map(([name, operation]) => [
    `${name}Sync`,
    (...args: unknown[]) => runSync(operation(...args)),
  ]);
  return Object.fromEntries(forms);
}

function callbackForms(operations: Record<string, Operation>): Functions {
  const forms = Object.entries(operations).map(([name, operation]) => [
    name,
    (...args: unknown[]) => {
      const callback = checkCallback(args.pop());
      runWithCallback(operation(...args), callback);
    },
  ]);
  return Object.fromEntries(forms);
}

function promiseForms(operations: Record<string, Operation>): Functions {
  const forms = Object.entries(operations).map(([name, operation]) => [
    name,
    (...args: unknown[]) => runAsync(operation(...args)),
  ]);
  return Object.fromEntries(forms);
}

/** Reads and writes: their callbacks get the memory, too. */
function transferForms(host: Host): Functions {
  const operations = {
    *read(fd: unknown, ...args: unknown[]): Script<[number, unknown]> {
      const { bytes, position, buffer } = contents.readRange(args);
      return [yield* contents.readAt(host.descriptors.get(fd, "read"), bytes, position), buffer];
    },
    *write(fd: unknown, ...args: unknown[]): Script<[number, unknown]> {
      const { bytes, position, source } = contents.writeRange(args);
      return [yield* contents.writeAt(host.descriptors.get(fd, "write"), bytes, position), source];
    },
    *readv(fd: unknown, buffers: unknown, position: unknown): Script<[number, unknown]> {
      const [views, at] = [contents.checkViews(buffers), checkPosition(position)];
      return [yield* contents.readViews(host.descriptors.get(fd, "read"), views, at), buffers];
    },
    *writev(fd: unknown, buffers: unknown, position: unknown): Script<[number, unknown]> {
      const [views, at] = [contents.checkViews(buffers), checkPosition(position)];
      return [yield* contents.writeViews(host.descriptors.get(fd, "write"), views, at), buffers];
    },
  };
  // As Node names them.
  const results: Record<TransferName, readonly [string, string]> = {
    read: ["bytesRead", "buffer"],
    write: ["bytesWritten", "buffer"],
    readv: ["bytesRead", "buffers"],
    writev: ["bytesWritten", "buffer"],
  };
  const forms: Functions = {};
  for (const [name, operation] of Object.entries(operations)) {
    const run = operation as (...args: unknown[]) => Script<[number, unknown]>;
    const [count, memory] = results[name as TransferName];
    forms[`${name}Sync`] = (...args: unknown[]) => runSync(run(...args))[0];
    forms[name] = Object.assign(
      (...args: unknown[]) => {
        const callback = checkCallback(args.pop());
        runWithCallback(run(...args), callback, (result) => result);
      },
      {
        [promisify.custom]: async (...args: unknown[]) => {
          const [done, given] = await runAsync(run(...args));
          return { [count]: done, [memory]: given };
        },
      },
    );
  }
  return forms;
}

function existsForms(host: Host): Functions {
  return {
    existsSync: (path: unknown) => runSync(names.exists(host, path)),
    exists: Object.assign(
      (path: unknown, given: unknown) => {
        const callback = checkCallback(given);
        void runAsync(names.exists(host, path)).then((is) => process.nextTick(callback, is));
      },
      { [promisify.custom]: (path: unknown) => runAsync(names.exists(host, path)) },
    ),
  };
}

function watchForms(host: Host): Functions {
  const watched = new StatWatchers(host);
  return {
    watch: (path: unknown, options: unknown, listener: unknown) =>
      watch(host, path, options, listener),
    watchFile: (path: unknown, options: unknown, listener: unknown) =>
      watched.watchFile(path, options, listener),
    unwatchFile: (path: unknown, listener: unknown) => watched.unwatchFile(path, listener),
  };
}

/** `stat` and `lstat`, blocking: what is missing may be no error; to `lstat` ENOTDIR is one, as in Node. */
function statSyncForms(operations: ReturnType<typeof pathOperations>): Functions {
  const quiet =
    (operation: Operation, isMissing: (error: unknown) => boolean) =>
    (path: unknown, options?: { throwIfNoEntry?: boolean }): unknown => {
      try {
        return runSync(operation(path, options));
      } catch (error) {
        if (options?.throwIfNoEntry !== false || !isMissing(error)) throw error;
        return undefined;
      }
    };
  return {
    statSync: quiet(operations.stat, names.isMissing),
    lstatSync: quiet(operations.lstat, (error) => (error as { code?: unknown }).code === "ENOENT"),
  };
}

interface StreamOptions {
  readonly closeHandle?: () => Promise<void>;
}

/** Makes streams of what is open as `options.fd`, too: a handle's are its own. */
function streamForms(streams: StreamMaker): StreamMaker {
  const made =
    <T>(
      byPath: (path: string, options: object) => T,
      byHandle: (handle: VolumeFileHandle, options: object) => T,
    ) =>
    (path: string, options: object): T => {
      const { fd, ...rest } = optionsOf<{ fd: unknown }>(options);
      return fd instanceof VolumeFileHandle ? byHandle(fd, rest) : byPath(path, options);
    };
  return {
    createReadStream: made(streams.createReadStream, (fd, options) => fd.createReadStream(options)),
    createWriteStream: made(streams.createWriteStream, (fd, options) =>
      fd.createWriteStream(options),
    ),
  };
}

/** Node's own streams, over the face's functions. `closeHandle`: closes what the descriptor is of. */
function streamMaker(face: VolumeFs): StreamMaker {
  const overFace = (options: unknown): object => {
    const { closeHandle, ...given } = optionsOf<StreamOptions>(options);
    const { open, read, readv, write, writev, fsync } = face;
    const closing = (fd: number, callback: (error?: unknown) => void): void => {
      if (closeHandle === undefined) face.close(fd, callback);
      else closeHandle().then(() => callback(), callback);
    };
    return { ...given, fs: { open, read, readv, write, writev, fsync, close: closing } };
  };
  type Make<T> = new (path: string, options: object) => T;
  const { ReadStream, WriteStream } = nodeFs;
  return {
    createReadStream: (path, options) =>
      new (ReadStream as unknown as Make<nodeFs.ReadStream>)(path, overFace(options)),
    createWriteStream: (path, options) =>
      new (WriteStream as unknown as Make<nodeFs.WriteStream>)(path, overFace(options)),
  };
}

const { F_OK, R_OK, W_OK, X_OK } = nodeFs.constants;
/** Programs from before `constants` have them from here. */
const ACCESS_MODES = { F_OK, R_OK, W_OK, X_OK };

/** The face of a volume in this thread. Descriptors are its own. */
export function makeFs(core: VolumeCore): VolumeFs {
  const host = new Host(core);
  const [onPaths, onFiles] = [pathOperations(host), fileOperations(host)];
  const onMemory = directOperations(host);
  const face = {} as VolumeFs;
  const streams = streamMaker(face);
  const { writeFile, appendFile } = promiseForms(onPaths) as Record<
    string,
    (...args: unknown[]) => Promise<void>
  >;
  /** Content may come piece by piece. */
  const streamed =
    (whole: (...args: unknown[]) => Promise<void>, flag: "w" | "a") =>
    async (to: unknown, data: unknown, options?: unknown): Promise<void> => {
      if (to instanceof VolumeFileHandle) return to.writeFile(data, options);
      if (!isStreamed(data)) return whole(to, data, options);
      const { flag: given, mode } = optionsOf<{ flag: string; mode: number }>(options);
      await using handle = await openHandle(to, given ?? flag, mode);
      await handle.writeFile(data, options);
    };
  const openHandle = async (path: unknown, flags?: unknown, mode?: unknown) => {
    const fd = await runAsync(onFiles.open(path, flags, mode));
    return new VolumeFileHandle(host, streams, fd);
  };
  const promises = {
    ...promiseForms({ ...onPaths, realpath: nativeRealpath(host) }),
    readFile: async (from: unknown, options?: unknown) =>
      from instanceof VolumeFileHandle
        ? from.readFile(options)
        : runAsync(onPaths.readFile(from, options)),
    writeFile: streamed(writeFile!, "w"),
    appendFile: streamed(appendFile!, "a"),
    open: openHandle,
    watch: (path: FsPath, options?: unknown) => watchEvents(host, path, options),
    constants: nodeFs.constants,
  };
  const forms: Functions = {
    ...syncForms(onPaths),
    ...syncForms(onFiles),
    ...callbackForms(onPaths),
    ...callbackForms(onFiles),
    ...syncForms(onMemory),
    ...callbackForms(onMemory),
    ...transferForms(host),
    ...existsForms(host),
    ...statSyncForms(onPaths),
    ...streamForms(streams),
    ...watchForms(host),
    ...ACCESS_MODES,
    constants: nodeFs.constants,
    promises,
  };
  const realpath = { realpath: nativeRealpath(host) };
  const native = { ...callbackForms(realpath), ...syncForms(realpath) };
  for (const name of ["realpath", "realpathSync"]) {
    Object.assign(forms[name] as object, { native: native[name] });
  }
  return Object.assign(face, forms);
}
