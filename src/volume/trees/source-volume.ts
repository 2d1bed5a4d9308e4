/** A path of a mounted volume as a source: with all below it, in the order of the names' bytes. */
import type { FileHandle } from "../file.ts";
import { PERMISSIONS } from "../mode-bits.ts";
import type { Mounted } from "../mount.ts";
import type { Stats } from "../stats.ts";
import { attempt, type ReadOptions, type Source, type SourceEntry } from "./source.ts";

const NO_FOLLOW = { followSymlinks: false } as const;
const SLASH = Buffer.from("/");

export class VolumeSource implements Source {
  readonly path: string;
  readonly #mounted: Mounted;
  readonly #root: Uint8Array;
  readonly #options: ReadOptions;
  /** The file that is read: the last entry's. */
  #file: FileHandle | null = null;
  /** The first names of files that have several, by inode number. */
  readonly #linked = new Map<number, readonly Uint8Array[]>();

  /** What is to be written of the volume yet is, so that its files' holes are known. Throws: ENOENT, EIO. */
  constructor(mounted: Mounted, path: string, options: ReadOptions) {
    const { volume } = mounted;
    this.path = path;
    this.#mounted = mounted;
    this.#options = options;
    this.#root = options.follow
      ? volume.fs.realpathSync(path, { encoding: "buffer" })
      : Buffer.from(path.replace(/(?<=.)\/+$/, ""));
    if (!volume.readOnly) volume.syncSync();
  }

  *entries(): Iterable<SourceEntry> {
    this.#linked.clear();
    yield* this.#walk([]);
  }

  *#walk(names: readonly Uint8Array[]): Generator<SourceEntry> {
    const path = this.#pathOf(names);
    const { onError } = this.#options;
    const { volume } = this.#mounted;
    const entry = attempt(onError, names, () => this.#entryOf(names, path, volume.lstatSync(path)));
    if (entry === null) return;
    yield entry;
    this.#closeFile();
    if (entry.type !== "directory") return;
    const inside = attempt(onError, names, () => volume.readdirSync(path, { withFileTypes: true }));
    const sorted = inside?.map(({ nameBytes }) => nameBytes).sort(Buffer.compare);
    for (const name of sorted ?? []) yield* this.#walk([...names, name]);
  }

  #pathOf(names: readonly Uint8Array[]): Buffer {
    const root = this.#root.length === 1 ? [] : [this.#root];
    if (names.length === 0) return Buffer.from(this.#root);
    return Buffer.concat([...root, ...names.flatMap((name) => [SLASH, name])]);
  }

  #entryOf(names: readonly Uint8Array[], path: Buffer, stats: Stats): SourceEntry {
    const { type } = stats;
    const isLinked = this.#options.links && stats.nlink > 1 && type !== "directory";
    const linkTo = isLinked ? (this.#linked.get(stats.ino) ?? null) : null;
    if (isLinked && linkTo === null) this.#linked.set(stats.ino, names);
    const { volume } = this.#mounted;
    const hasData = type === "file" && linkTo === null;
    this.#closeFile();
    this.#file = hasData ? volume.openSync(path) : null;
    const info = stats.times;
    const data = (this.#file?.extentsSync() ?? [])
      .filter(({ unwritten, offset }) => !unwritten && offset < stats.size)
      .map(({ offset, length }) => {
        return { start: offset, length: Math.min(length, stats.size - offset) };
      });
    const attributeNames = linkTo === null ? volume.listxattrSync(path, NO_FOLLOW) : [];
    return {
      names,
      type,
      mode: stats.mode & PERMISSIONS,
      uid: stats.uid,
      gid: stats.gid,
      accessTime: info.access,
      modifyTime: info.modify,
      size: type === "file" ? stats.size : 0,
      deviceMajor: stats.device.major,
      deviceMinor: stats.device.minor,
      target: type === "symlink" ? volume.fs.readlinkSync(path, { encoding: "buffer" }) : null,
      linkTo,
      data,
      attributes: attributeNames.map((name) => ({
        name: Buffer.from(name),
        value: volume.getxattrSync(path, name, NO_FOLLOW),
      })),
    };
  }

  #closeFile(): void {
    this.#file?.closeSync();
    this.#file = null;
  }

  read(at: number, target: Uint8Array): number {
    return this.#file?.readSync(target, at) ?? 0;
  }

  [Symbol.dispose](): void {
    this.#closeFile();
  }
}
