// Operations on names and attributes, on files of one tree, and what makes them durable, each on ext4 by
// Holdfast, by the kernel (a loop mount) and by libext2fs in WebAssembly, all on equal images; on tmpfs by
// node:fs; and in memfs. One function says what an operation is, for all of them.

import {
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { mountSync } from "holdfast";
import { memfsFace, nodeFace, volumeFace, withExt2fs } from "../faces.js";
import { at, takeTurns, takeTurnsOnce } from "../measure.js";
import { aimAtRatio, makeRow } from "../report.js";

/** @typedef {import("../faces.js").AppendedFile} AppendedFile */
/** @typedef {import("../faces.js").Face} Face */
/** @typedef {import("../measure.js").Contestant} Contestant */
/** @typedef {import("../measure.js").Figure} Figure */
/** @typedef {import("../place.js").Place} Place */
/** @typedef {import("../report.js").Aim} Aim */
/** @typedef {import("../report.js").GroupReport} GroupReport */
/** @typedef {import("../report.js").Row} Row */
/** Yields what a face's call has returned, and is given the result. @typedef {Generator<unknown, void, any>} Steps */

const VOLUME_BYTES = 2 ** 32; // with inodes for 100,000 files
const NEED_BYTES = 2 ** 31;
const FILES = 1000;
const MANY = 100_000;
const APPENDED = new Uint8Array(4096).fill(0x5a);
/** A file begins anew when it has so many pieces: images are not without end. */
const APPENDS_MAX = 4096;
const HALF = 0.5;
const FIFTH = 0.2;

/** @param {Steps} steps */
function runSteps(steps) {
  for (let step = steps.next(); !step.done; ) step = steps.next(step.value);
}

/** @param {Steps} steps */
async function awaitSteps(steps) {
  for (let step = steps.next(); !step.done; ) step = steps.next(await step.value);
}

/** @param {Face} face */
const isAsync = ({ name }) => name.startsWith("ext2fs");

/**
 * @param {Face} face
 * @param {Steps} steps
 */
function run(face, steps) {
  return isAsync(face) ? awaitSteps(steps) : runSteps(steps);
}

/**
 * An operation, repeated: on a counter's next value each time.
 * @param {Face} face
 * @param {(face: Face, index: number) => Steps} operation
 * @returns {Contestant}
 */
function repeated(face, operation) {
  let next = 0;
  /** @param {number} count */
  function* times(count) {
    for (let done = 0; done < count; done++) yield* operation(face, next++);
  }
  return { name: face.name, before: face.enter, run: (count) => run(face, times(count)) };
}

/**
 * @param {Face} face
 * @param {number} index
 * @returns {Steps}
 */
function* createAndUnlink(face, index) {
  const path = `names/new-${index % FILES}`;
  yield face.create(path);
  yield face.unlink(path);
}

/**
 * @param {Face} face
 * @param {number} index
 * @returns {Steps}
 */
function* renameThereAndBack(face, index) {
  const path = `names/file-${index % FILES}`;
  yield face.rename(path, "names/renamed");
  yield face.rename("names/renamed", path);
}

/**
 * @param {Face} face
 * @param {number} index
 * @returns {Steps}
 */
function* mkdirAndRmdir(face, index) {
  const path = `names/directory-${index % FILES}`;
  yield face.mkdir(path);
  yield face.rmdir(path);
}

/**
 * @param {Face} face
 * @param {number} index
 * @returns {Steps}
 */
function* statOne(face, index) {
  yield face.stat(`names/file-${index % FILES}`);
}

/**
 * @param {Face} face
 * @returns {Steps}
 */
function* readManyNames(face) {
  yield face.readdir("many");
}

/**
 * @typedef {object} Entry
 * @property {string} path
 * @property {"directory" | "file" | "symlink"} type
 * @property {number} mode
 * @property {number} time
 * @property {Uint8Array} bytes
 * @property {string} target
 */

/**
 * A tree that is really there, as an archive would list it: this package's own sources and documents.
 * @returns {Entry[]}
 */
function readTree() {
  const root = join(dirname(fileURLToPath(import.meta.url)), "../..");
  /** @type {Entry[]} */
  const entries = [];
  /** @param {string} path */
  const add = (path) => {
    const stats = lstatSync(join(root, path));
    const type = stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "file";
    const bytes = type === "file" ? readFileSync(join(root, path)) : APPENDED;
    const target = type === "symlink" ? readlinkSync(join(root, path)) : "";
    entries.push({
      path,
      type,
      mode: stats.mode & 0o777,
      time: stats.mtimeMs / 1000,
      bytes,
      target,
    });
    if (type !== "directory") return;
    for (const name of readdirSync(join(root, path))) add(`${path}/${name}`);
  };
  for (const path of ["src", "test", "bench", "docs"]) add(path);
  return entries;
}

/**
 * @param {Face} face
 * @param {readonly Entry[]} entries
 * @param {string} to
 * @returns {Steps}
 */
function* unpack(face, entries, to) {
  yield face.mkdir(to);
  for (const { path, type, mode, time, bytes, target } of entries) {
    const place = `${to}/${path}`;
    if (type === "symlink") {
      yield face.symlink(target, place);
      continue;
    }
    if (type === "directory") yield face.mkdir(place);
    else yield face.writeFile(place, bytes);
    yield face.chmod(place, mode);
    yield face.utimes(place, time, time);
  }
}

/**
 * As cp -a: everything is looked at, and copied with its mode and times.
 * @param {Face} face
 * @param {string} from
 * @param {string} to
 * @returns {Steps}
 */
function* copy(face, from, to) {
  const stats = yield face.stat(from);
  if (stats.isSymbolicLink()) {
    yield face.symlink(yield face.readlink(from), to);
    return;
  }
  if (stats.isDirectory()) {
    yield face.mkdir(to);
    for (const name of yield face.readdir(from))
      yield* copy(face, `${from}/${name}`, `${to}/${name}`);
  } else {
    yield face.writeFile(to, yield face.readFile(from));
  }
  yield face.chmod(to, stats.mode & 0o777);
  yield face.utimes(to, stats.atimeMs / 1000, stats.mtimeMs / 1000);
}

/**
 * @param {Face} face
 * @returns {Steps}
 */
function* prepare(face) {
  face.enter();
  yield face.mkdir("names");
  for (let index = 0; index < FILES; index++) yield face.create(`names/file-${index}`);
  yield face.mkdir("many");
  for (let index = 0; index < MANY; index++) yield face.create(`many/file-${index}`);
}

/**
 * An image that is prepared already: by Holdfast, since ext2fs would take minutes for the many files.
 * @param {Place} place
 */
function preparedImage(place) {
  const image = place.makeImage(VOLUME_BYTES);
  const volume = mountSync(image);
  runSteps(prepare(volumeFace("", volume)));
  volume.closeSync();
  return image;
}

/**
 * Something that is done once to a new place each time.
 * @param {Face} face
 * @param {(to: string) => Steps} operation
 * @returns {Contestant}
 */
function onceEach(face, operation) {
  return {
    name: face.name,
    before: face.enter,
    run: () => run(face, operation(`new-${newPlaces++}`)),
  };
}

let newPlaces = 0;

/**
 * @param {Face} face
 * @returns {Contestant & { end: () => void }}
 */
function appending(face) {
  /** @type {AppendedFile | null} */
  let file = null;
  let done = 0;
  return {
    name: face.name,
    before: face.enter,
    end: () => file?.close(),
    run(count) {
      for (let index = 0; index < count; index++, done++) {
        if (done % APPENDS_MAX === 0) {
          file?.close();
          file = /** @type {AppendedFile} */ (face.openAppended("appended"));
        }
        file?.append(APPENDED);
        file?.sync();
      }
    },
  };
}

/**
 * @param {string} name
 * @param {readonly Figure[]} figures Holdfast's first.
 * @returns {Row}
 */
function rowOf(name, figures) {
  return makeRow(name, at(figures, 0), figures.slice(1));
}

/**
 * @param {string} name
 * @param {readonly Figure[]} figures
 * @returns {Aim[]}
 */
function aimsOf(name, figures) {
  const subject = at(figures, 0);
  return figures.slice(1).flatMap((peer) => {
    if (peer.name === "memfs") return [];
    const most = peer.name.startsWith("ext2fs") ? FIFTH : HALF;
    return [
      aimAtRatio(`${name} in at most ${most} of the time of ${peer.name}`, subject, peer, most),
    ];
  });
}

/**
 * @param {Place} place
 * @param {readonly Face[]} faces
 * @returns {Promise<{ rows: Row[], aims: Aim[] }>}
 */
async function measureFaces(place, faces) {
  const tree = readTree();
  /** @type {{ rows: Row[], aims: Aim[] }} */
  const found = { rows: [], aims: [] };
  const add = (/** @type {string} */ name, /** @type {readonly Figure[]} */ figures) => {
    found.rows.push(rowOf(name, figures));
    found.aims.push(...aimsOf(name, figures));
  };
  const each = { "create + unlink": createAndUnlink, "rename, there and back": renameThereAndBack };
  const more = { "mkdir + rmdir": mkdirAndRmdir, stat: statOne };
  for (const [name, operation] of Object.entries({ ...each, ...more })) {
    const contestants = faces.map((face) => repeated(face, operation));
    add(name, await takeTurns(contestants, place.seconds));
  }
  const once = (/** @type {(face: Face, to: string) => Steps} */ operation) =>
    takeTurnsOnce(
      faces.map((face) => onceEach(face, (to) => operation(face, to))),
      place.seconds,
    );
  add(`readdir of ${MANY.toLocaleString("en")} names`, await once(readManyNames));
  const bytes = tree.reduce((sum, entry) => sum + entry.bytes.length, 0);
  const size = `${tree.length} files, ${Math.round(bytes / 2 ** 20)} MiB`;
  add(`unpack a tree (${size})`, await once((face, to) => unpack(face, tree, to)));
  for (const face of faces) {
    face.enter();
    await run(face, unpack(face, tree, "tree"));
  }
  add("copy that tree", await once((face, to) => copy(face, "tree", to)));
  return found;
}

/**
 * @param {Place} place
 * @param {string} where
 * @param {string} directory
 * @returns {Promise<{ rows: Row[], aims: Aim[] }>}
 */
async function measureAppends(place, where, directory) {
  const scratch = mkdtempSync(join(directory, "holdfast-bench-"));
  const plain = join(scratch, "plain");
  mkdirSync(plain);
  const volume = mountSync(place.makeImage(2 ** 30, join(scratch, "own")));
  try {
    return await place.withLoopMount(
      place.makeImage(2 ** 30, join(scratch, "loop")),
      async (mounted) => {
        const faces = [
          volumeFace("Holdfast on ext4", volume),
          nodeFace("node:fs, loop mount of ext4", mounted),
          nodeFace("node:fs, beside the images", plain),
        ];
        const contestants = faces.map(appending);
        const figures = await takeTurns(contestants, place.seconds);
        for (const { end } of contestants) end();
        const name = `append 4 KiB + fsync, images ${where}`;
        return { rows: [rowOf(name, figures)], aims: aimsOf(name, figures) };
      },
    );
  } finally {
    volume.closeSync();
    process.chdir("/");
    rmSync(scratch, { recursive: true, force: true });
  }
}

/**
 * @param {Place} place
 * @returns {Promise<GroupReport>}
 */
export async function measureMetadata(place) {
  place.assertRoom(NEED_BYTES);
  const before = process.cwd();
  const plain = place.path("plain");
  mkdirSync(plain);
  try {
    const memfs = memfsFace();
    const onTmpfs = nodeFace("node:fs, tmpfs", plain);
    for (const face of [memfs, onTmpfs]) runSteps(prepare(face));
    const { rows, aims } = await place.withVolume(VOLUME_BYTES, (volume) => {
      const own = volumeFace(`Holdfast on ${place.driver}`, volume);
      runSteps(prepare(own));
      return place.withLoopMount(preparedImage(place), (mounted) => {
        const loop = nodeFace("node:fs, loop mount of ext4", mounted);
        return withExt2fs(preparedImage(place), (ext2fs) =>
          measureFaces(place, [own, onTmpfs, loop, memfs, ext2fs]),
        );
      });
    });
    const inMemory = await measureAppends(place, "in memory", place.directory);
    const onDisk = await measureAppends(place, "on disk", tmpdir());
    return {
      title: `metadata, by synchronous calls (${FILES} files in the directory)`,
      rows: [...rows, ...inMemory.rows, ...onDisk.rows],
      aims: [...aims, ...inMemory.aims, ...onDisk.aims],
      notes: ["ext2fs has promises only, no utimes and no fsync"],
    };
  } finally {
    process.chdir(before);
    rmSync(plain, { recursive: true, force: true });
  }
}
