// What a volume holds, and whether what is found after a crash is something that it may hold.

import type { Volume } from "../../src/index.ts";

/** Bytes of a file that are old or new together. */
const PIECE = 1024;

interface SeenFile {
  readonly ino: number;
  readonly type: string;
  readonly mode: number;
  readonly uid: number;
  readonly links: number;
  readonly size: number;
  readonly content: Buffer;
  /** Extended attributes, access control lists among them, by name. */
  readonly attributes: string;
}

/** By path. */
export type Snapshot = ReadonlyMap<string, SeenFile>;

export function snapshotOf(volume: Volume, path = ""): Snapshot {
  const seen = new Map<string, SeenFile>();
  const walk = (directory: string): void => {
    for (const name of volume.readdirSync(directory === "" ? "/" : directory)) {
      const at = `${directory}/${name}`;
      const stats = volume.lstatSync(at);
      const type = stats.isDirectory() ? "directory" : stats.isSymbolicLink() ? "symlink" : "file";
      const content =
        type === "file"
          ? Buffer.from(volume.readFileSync(at))
          : Buffer.from(type === "symlink" ? volume.readlinkSync(at) : "");
      const { ino, mode, uid, nlink, size } = stats;
      const attributes = attributesOf(volume, at);
      seen.set(at, { ino, type, mode, uid, links: nlink, size, content, attributes });
      if (type === "directory") walk(at);
    }
  };
  walk(path);
  return seen;
}

function attributesOf(volume: Volume, path: string): string {
  const options = { followSymlinks: false };
  const valueInHex = (name: string): string =>
    Buffer.from(volume.getxattrSync(path, name, options)).toString("hex");
  const names = volume.listxattrSync(path, options).toSorted();
  return names.map((name) => `${name}=${valueInHex(name)}`).join(" ");
}

/**
 * Why `found` is none of `allowed`, or null when it is one: the same names, and of each file the size and the attributes; and its
 * content, piece by piece, as one of `versions` has it for the same inode, or zeroes where it has none.
 */
export function whyNotAllowed(
  found: Snapshot,
  allowed: readonly Snapshot[],
  versions: readonly Snapshot[],
): string | null {
  const reasons: string[] = [];
  for (const snapshot of allowed) {
    const reason = differenceFrom(found, snapshot, versions);
    if (reason === null) return null;
    reasons.push(reason);
  }
  return reasons.join("; or ");
}

/**
 * What may be found between two of `snapshots`, each the next one's before, on a volume with blocks of `blockSize` bytes:
 * a file that a write has made larger, as far as it got before it found that the next block was another file's. It takes a
 * transaction for each run of blocks.
 */
export function* onTheWay(snapshots: readonly Snapshot[], blockSize: number): Generator<Snapshot> {
  for (const [index, before] of snapshots.entries()) {
    for (const [path, { ino, type, size, content }] of snapshots[index + 1] ?? []) {
      const old = before.get(path);
      if (type !== "file" || old?.ino !== ino) continue;
      const first = (Math.ceil(old.size / blockSize) + 1) * blockSize;
      for (let end = first; end < size; end += blockSize) {
        yield new Map(before).set(path, { ...old, size: end, content: content.subarray(0, end) });
      }
    }
  }
}

function differenceFrom(
  found: Snapshot,
  snapshot: Snapshot,
  versions: readonly Snapshot[],
): string | null {
  for (const path of snapshot.keys()) if (!found.has(path)) return `${path} is missing`;
  for (const [path, file] of found) {
    const expected = snapshot.get(path);
    if (expected === undefined) return `${path} is there`;
    const names = ["ino", "type", "mode", "uid", "links", "size", "attributes"] as const;
    for (const name of names) {
      if (file[name] !== expected[name])
        return `${path}: ${name} ${file[name]}, not ${expected[name]}`;
    }
    const reason = file.type === "file" ? foreignPiece(file, versions) : null;
    if (reason !== null) return `${path}: ${reason}`;
    if (file.type === "symlink" && !file.content.equals(expected.content)) return `${path}: target`;
  }
  return null;
}

function foreignPiece(file: SeenFile, versions: readonly Snapshot[]): string | null {
  const contents = versions.flatMap((version) =>
    [...version.values()].filter(({ ino }) => ino === file.ino).map(({ content }) => content),
  );
  for (let at = 0; at < file.size; at += PIECE) {
    const piece = file.content.subarray(at, at + PIECE);
    const isKnown = contents.some((content) => {
      const old = Buffer.alloc(piece.length);
      if (at < content.length) content.copy(old, 0, at, at + piece.length);
      return old.equals(piece);
    });
    if (!isKnown)
      return `bytes from ${at} on are neither old nor new: ${piece.toString("latin1", 0, 8)}`;
  }
  return null;
}
