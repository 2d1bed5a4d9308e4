// The filesystems that metadata operations are measured on, each by its own calls, under the same names.
// What a call returns is the result, or a promise of it where the filesystem has no other form.

import * as fs from "node:fs";
import { FileDisk, withOpenFile } from "file-disk";
import { createFsFromVolume, Volume as MemoryVolume } from "memfs";

/** @typedef {import("holdfast").Volume} Volume */

/**
 * @typedef {object} AppendedFile
 * @property {(bytes: Uint8Array) => unknown} append
 * @property {() => unknown} sync
 * @property {() => unknown} close
 */

/**
 * @typedef {object} Face
 * @property {string} name
 * @property {() => void} enter Makes the filesystem's own directory the working one, where paths need it.
 * @property {(path: string) => unknown} create Makes an empty file.
 * @property {(path: string) => unknown} unlink
 * @property {(from: string, to: string) => unknown} rename
 * @property {(path: string) => unknown} mkdir
 * @property {(path: string) => unknown} rmdir
 * @property {(path: string) => unknown} stat Answers Stats, of a symlink itself.
 * @property {(path: string) => unknown} readdir Answers names.
 * @property {(path: string) => unknown} readFile
 * @property {(path: string, bytes: Uint8Array) => unknown} writeFile
 * @property {(path: string) => unknown} readlink
 * @property {(target: string, path: string) => unknown} symlink
 * @property {(path: string, mode: number) => unknown} chmod
 * @property {(path: string, access: number, modify: number) => unknown} utimes
 * @property {(path: string) => unknown} openAppended Answers an AppendedFile, empty.
 */

/** The part of node:fs that faces need: memfs has it, too. */
/** @typedef {Pick<typeof fs, "openSync" | "closeSync" | "unlinkSync" | "renameSync" | "mkdirSync" | "rmdirSync" | "lstatSync" | "readdirSync" | "readFileSync" | "writeFileSync" | "readlinkSync" | "symlinkSync" | "chmodSync" | "utimesSync" | "writeSync" | "fsyncSync">} NodeCalls */

/**
 * @param {string} name
 * @param {NodeCalls} calls
 * @param {() => void} enter
 * @returns {Face}
 */
function faceOfCalls(name, calls, enter) {
  return {
    name,
    enter,
    create: (path) => calls.closeSync(calls.openSync(path, "w")),
    unlink: (path) => calls.unlinkSync(path),
    rename: (from, to) => calls.renameSync(from, to),
    mkdir: (path) => calls.mkdirSync(path),
    rmdir: (path) => calls.rmdirSync(path),
    stat: (path) => calls.lstatSync(path),
    readdir: (path) => calls.readdirSync(path),
    readFile: (path) => calls.readFileSync(path),
    writeFile: (path, bytes) => calls.writeFileSync(path, bytes),
    readlink: (path) => calls.readlinkSync(path),
    symlink: (target, path) => calls.symlinkSync(target, path),
    chmod: (path, mode) => calls.chmodSync(path, mode),
    utimes: (path, access, modify) => calls.utimesSync(path, access, modify),
    openAppended(path) {
      const fd = calls.openSync(path, "w");
      let at = 0;
      return {
        append: (/** @type {Uint8Array} */ bytes) => {
          at += calls.writeSync(fd, bytes, 0, bytes.length, at);
        },
        sync: () => calls.fsyncSync(fd),
        close: () => calls.closeSync(fd),
      };
    },
  };
}

/**
 * @param {string} name
 * @param {string} directory
 */
export function nodeFace(name, directory) {
  return faceOfCalls(name, fs, () => process.chdir(directory));
}

export function memfsFace() {
  const calls = createFsFromVolume(MemoryVolume.fromJSON({}, "/"));
  const root = /** @type {NodeCalls} */ (/** @type {unknown} */ (calls));
  // Its paths that do not begin with a slash are of the process's working directory.
  return faceOfCalls("memfs", root, () => process.chdir("/"));
}

/**
 * @param {string} name
 * @param {Volume} volume
 * @returns {Face}
 */
export function volumeFace(name, volume) {
  return {
    name,
    enter() {},
    create: (path) => volume.openSync(path, "w").closeSync(),
    unlink: (path) => volume.unlinkSync(path),
    rename: (from, to) => volume.renameSync(from, to),
    mkdir: (path) => volume.mkdirSync(path),
    rmdir: (path) => volume.rmdirSync(path),
    stat: (path) => volume.lstatSync(path),
    readdir: (path) => volume.readdirSync(path),
    readFile: (path) => volume.readFileSync(path),
    writeFile: (path, bytes) => volume.writeFileSync(path, bytes),
    readlink: (path) => volume.readlinkSync(path),
    symlink: (target, path) => volume.symlinkSync(target, path),
    chmod: (path, mode) => volume.chmodSync(path, mode),
    utimes: (path, access, modify) => volume.utimesSync(path, access, modify),
    openAppended(path) {
      const file = volume.openSync(path, "w");
      let at = 0;
      return {
        append: (/** @type {Uint8Array} */ bytes) => {
          at += file.writeSync(bytes, at);
        },
        sync: () => file.syncSync(),
        close: () => file.closeSync(),
      };
    },
  };
}

/**
 * Runs `use` with libext2fs, compiled to WebAssembly, on an image. It has promises only.
 * @template T
 * @param {string} image
 * @param {(face: Face) => Promise<T>} use
 */
export async function withExt2fs(image, use) {
  // Here alone: it takes over the process's uncaught exceptions.
  const { withMountedDisk } = await import("ext2fs");
  return withOpenFile(image, "r+", (handle) =>
    withMountedDisk(new FileDisk(handle), 0, ({ promises: calls }) => {
      const root = (/** @type {string} */ path) => `/${path}`;
      return use({
        name: "ext2fs (WebAssembly)",
        enter() {},
        create: async (path) => (await calls.open(root(path), "w")).close(),
        unlink: (path) => calls.unlink(root(path)),
        rename: (from, to) => calls.rename(root(from), root(to)),
        mkdir: (path) => calls.mkdir(root(path)),
        rmdir: (path) => calls.rmdir(root(path)),
        stat: (path) => calls.lstat(root(path)),
        readdir: (path) => calls.readdir(root(path)),
        readFile: (path) => calls.readFile(root(path)),
        writeFile: (path, bytes) => calls.writeFile(root(path), bytes),
        readlink: (path) => calls.readlink(root(path)),
        symlink: (target, path) => calls.symlink(target, root(path)),
        chmod: (path, mode) => calls.chmod(root(path), mode),
        utimes: () => {}, // it has none
        openAppended: () => {
          throw new Error("ext2fs has no fsync");
        },
      });
    }),
  );
}
