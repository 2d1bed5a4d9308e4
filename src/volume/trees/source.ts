/** Where the contents of a new volume come from: entries one after another, each directory before its own. */
import type { ByteRun, HostAttribute } from "../../device/index.ts";
import type { FileType, Time } from "../../iomap/contract.ts";

export interface SourceEntry {
  /** The names of the way from the root; none: the root itself. */
  readonly names: readonly Uint8Array[];
  readonly type: FileType;
  /** The low 12 bits. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly accessTime: Time;
  readonly modifyTime: Time;
  /** Bytes; of a file. */
  readonly size: number;
  /** Of a device. */
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Of a symlink. */
  readonly target: Uint8Array | null;
  /** Another name for what an earlier entry made: its names. Nothing else counts then, but `type`. */
  readonly linkTo: readonly Uint8Array[] | null;
  /** The parts of a file that are not holes, in order. */
  readonly data: readonly ByteRun[];
  /** Extended attributes. Values of access control lists as Linux shows them. */
  readonly attributes: readonly HostAttribute[];
}

export interface Source extends Disposable {
  /** For messages. */
  readonly path: string;
  /** All entries. Each is used up before the next is asked for. Throws: EIO, EACCES, EINVAL. */
  entries(): Iterable<SourceEntry>;
  /** Bytes from `at` on of the file of the entry that was given last. Returns how many there were. */
  read(at: number, target: Uint8Array): number;
}

/** Told of what is left out, and why; null: it is thrown. */
export type OnError = ((error: unknown, path: string) => void) | null;

/** How a tree is read. */
export interface ReadOptions {
  /** Whether a symlink that is named itself stands for what it leads to. */
  readonly follow: boolean;
  /** Whether further names of one file are told as such; else each is a file of its own. */
  readonly links: boolean;
  /** Of what cannot be read. */
  readonly onError: OnError;
}

/** As of one that must be read whole. */
export const READ_ALL: ReadOptions = { follow: true, links: true, onError: null };

/** A source whose entries lie below other names: its root is what has the last of them. */
export class PrefixedSource implements Source {
  readonly path: string;
  readonly #source: Source;
  readonly #prefix: readonly Uint8Array[];

  constructor(source: Source, prefix: readonly Uint8Array[]) {
    this.path = source.path;
    this.#source = source;
    this.#prefix = prefix;
  }

  *entries(): Iterable<SourceEntry> {
    const prefixed = (names: readonly Uint8Array[]) => [...this.#prefix, ...names];
    for (const entry of this.#source.entries()) {
      const linkTo = entry.linkTo === null ? null : prefixed(entry.linkTo);
      yield { ...entry, names: prefixed(entry.names), linkTo };
    }
  }

  read(at: number, target: Uint8Array): number {
    return this.#source.read(at, target);
  }

  [Symbol.dispose](): void {
    this.#source[Symbol.dispose]();
  }
}

export function tellOrThrow(onError: OnError, error: unknown, path: string): void {
  if (onError === null) throw error;
  onError(error, path);
}

/** The answer of `run`; null where it throws, and somebody has been told. */
export function attempt<T>(onError: OnError, names: readonly Uint8Array[], run: () => T): T | null {
  try {
    return run();
  } catch (error) {
    tellOrThrow(onError, error, nameText(names));
    return null;
  }
}

export function nameText(names: readonly Uint8Array[]): string {
  return names.map((name) => Buffer.from(name).toString("utf8")).join("/");
}

/** Tells one way from all others; the root's is "". */
export function keyOf(names: readonly Uint8Array[]): string {
  return names.map((name) => Buffer.from(name).toString("latin1")).join("/");
}
