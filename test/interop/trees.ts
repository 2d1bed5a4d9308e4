// Whole trees, described name by name, from a volume or from a directory of the kernel's, and compared.
// Names are bytes: keys are paths read as latin1, so that every byte is a character.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import type { Volume } from "../../src/index.ts";
import { listAttributes, readAttribute } from "./libc.ts";

/** Everything that two views of a file must agree in. Times are nanoseconds since 1970. */
export interface Facts {
  readonly ino: number;
  readonly mode: number;
  readonly nlink: number;
  readonly uid: number;
  readonly gid: number;
  readonly rdev: number;
  readonly size: number;
  /** In units of 512 bytes. */
  readonly blocks: number;
  readonly atime: bigint;
  readonly mtime: bigint;
  readonly ctime: bigint;
  readonly birthtime: bigint;
}

/** A file as seen in a tree. */
export interface Seen extends Facts {
  /** A symlink's target, or the digest of a file's content. */
  readonly content: string;
  /** Extended attributes by name, with their values' digests. */
  readonly attributes: string;
}

export type Tree = Map<string, Seen>;

/** Somewhere trees are. Paths begin with a slash. */
export interface Place {
  names(path: Buffer): Buffer[];
  facts(path: Buffer): Facts;
  readlink(path: Buffer): Buffer;
  attributeNames(path: Buffer): string[];
  attribute(path: Buffer, name: string): Uint8Array;
  /** Opens for reading: fills `target` from `position` on, answers the number of bytes. */
  open(path: Buffer): {
    read(target: Uint8Array, position: number): number;
    close(): void;
  };
}

const bytesOf = (path: string): Buffer => Buffer.from(path, "latin1");

/** A directory of the kernel's, as a root. */
export function kernelPlace(root: string): Place {
  const at = (path: Buffer): Buffer => Buffer.concat([Buffer.from(root), path]);
  return {
    names: (path) => fs.readdirSync(at(path), { encoding: "buffer" }) as unknown as Buffer[],
    readlink: (path) => fs.readlinkSync(at(path), { encoding: "buffer" }) as unknown as Buffer,
    attributeNames: (path) => listAttributes(at(path)),
    attribute: (path, name) => readAttribute(at(path), name),
    facts(path) {
      const stats = fs.lstatSync(at(path), { bigint: true });
      return {
        ino: Number(stats.ino),
        mode: Number(stats.mode),
        nlink: Number(stats.nlink),
        uid: Number(stats.uid),
        gid: Number(stats.gid),
        rdev: Number(stats.rdev),
        size: Number(stats.size),
        blocks: Number(stats.blocks),
        atime: stats.atimeNs,
        mtime: stats.mtimeNs,
        ctime: stats.ctimeNs,
        birthtime: stats.birthtimeNs,
      };
    },
    open(path) {
      const file = fs.openSync(at(path), fs.constants.O_RDONLY | fs.constants.O_NOATIME);
      return {
        read: (target, position) => fs.readSync(file, target, 0, target.length, position),
        close: () => fs.closeSync(file),
      };
    },
  };
}

export function volumePlace(volume: Volume): Place {
  const noFollow = { followSymlinks: false } as const;
  const nanoseconds = (time: { seconds: number; nanoseconds: number }): bigint =>
    BigInt(time.seconds) * 1_000_000_000n + BigInt(time.nanoseconds);
  return {
    names: (path) =>
      volume
        .readdirSync(path, { withFileTypes: true })
        .map(({ nameBytes }) => Buffer.from(nameBytes)),
    readlink: (path) => Buffer.from(volume.readlinkSync(path)),
    attributeNames: (path) => volume.listxattrSync(path, noFollow),
    attribute: (path, name) => volume.getxattrSync(path, name, noFollow),
    facts(path) {
      const stats = volume.lstatSync(path);
      const { ino, mode, nlink, uid, gid, rdev, size, blocks, times } = stats;
      return {
        ...{ ino, mode, nlink, uid, gid, rdev, size, blocks },
        atime: nanoseconds(times.access),
        mtime: nanoseconds(times.modify),
        ctime: nanoseconds(times.change),
        birthtime: nanoseconds(times.birth),
      };
    },
    open(path) {
      const file = volume.openSync(path);
      return {
        read: (target, position) => file.readSync(target, position),
        close: () => file.closeSync(),
      };
    },
  };
}

/** Files above this size are read in samples: at their ends and at places that only the size decides. */
const WHOLE_BYTES_MAX = 128 * 2 ** 20;
const CHUNK = Buffer.alloc(2 ** 20);

/** Where a large file is read: where tests put data (multiples of 1 GiB and around), and in between. */
function samplesOf(size: number): number[] {
  const places = [0, size - CHUNK.length / 2];
  for (let at = 2 ** 30; at < size && places.length < 40; at += 2 ** 30) {
    places.push(at - CHUNK.length / 2);
  }
  for (let part = 1; part < 16; part++) places.push(Math.floor((size * part) / 16));
  return places.map((at) => Math.max(0, at));
}

function digest(place: Place, path: Buffer, size: number): string {
  const hash = createHash("sha1");
  const file = place.open(path);
  try {
    if (size > WHOLE_BYTES_MAX) {
      for (const at of samplesOf(size)) hash.update(CHUNK.subarray(0, file.read(CHUNK, at)));
    } else {
      let position = 0;
      for (;;) {
        const count = file.read(CHUNK, position);
        if (count === 0) break;
        hash.update(CHUNK.subarray(0, count));
        position += count;
      }
    }
  } finally {
    file.close();
  }
  return hash.digest("hex");
}

function attributesOf(place: Place, path: Buffer): string {
  const names = place.attributeNames(path).toSorted();
  return names.map((name) => `${name}=${digestOf(place.attribute(path, name))}`).join(" ");
}

const digestOf = (bytes: Uint8Array): string => createHash("sha1").update(bytes).digest("hex");

/** Describes everything from the root on, in no order. */
export function treeOf(place: Place): Tree {
  const tree: Tree = new Map();
  const digests = new Map<number, string>();
  const attributesByInode = new Map<number, string>();
  const stack = [""];
  for (let path = stack.pop(); path !== undefined; path = stack.pop()) {
    const bytes = bytesOf(path === "" ? "/" : path);
    const facts = place.facts(bytes);
    const type = facts.mode & 0o170000;
    let content = "";
    if (type === 0o120000) content = place.readlink(bytes).toString("latin1");
    if (type === 0o100000) {
      content = digests.get(facts.ino) ?? digest(place, bytes, facts.size);
      digests.set(facts.ino, content);
    }
    const attributes = attributesByInode.get(facts.ino) ?? attributesOf(place, bytes);
    attributesByInode.set(facts.ino, attributes);
    tree.set(path, { ...facts, content, attributes });
    if (type !== 0o040000) continue;
    for (const name of place.names(bytes)) stack.push(`${path}/${name.toString("latin1")}`);
  }
  return tree;
}

const shown = (path: string): string => {
  const text = bytesOf(path).toString("utf8");
  return text.length > 100 ? `${text.slice(0, 100)}...` : text;
};

/** Where `actual` is not as `expected`: nothing when they are equal. `ignore` names facts. */
export function differences(
  expected: Tree,
  actual: Tree,
  ignore: readonly (keyof Seen)[] = [],
): string[] {
  const found: string[] = [];
  for (const [path, was] of expected) {
    const is = actual.get(path);
    if (is === undefined) found.push(`${shown(path)} is missing`);
    else {
      for (const key of Object.keys(was) as (keyof Seen)[]) {
        if (was[key] !== is[key] && !ignore.includes(key)) {
          found.push(`${shown(path)}: ${key} is ${is[key]}, expected ${was[key]}`);
        }
      }
    }
  }
  for (const path of actual.keys()) {
    if (!expected.has(path)) found.push(`${shown(path)} should not be there`);
  }
  const rest = found.length - 20;
  return rest > 0 ? [...found.slice(0, 20), `and ${rest} more`] : found;
}
