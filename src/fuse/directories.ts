/**
 * OPENDIR, READDIR, READDIRPLUS, RELEASEDIR.
 *
 * A position in a directory is the driver's cursor of the last name that was given, which never changes for a name, times
 * 256, and how many names of that cursor have been given. So a name that is there all along is given once, whatever comes
 * and goes meanwhile, and wherever the reader seeks to; as a number it fits the 63 bits of a file position, since cursors
 * have 54. (Several names of one cursor are rare: listing.ts of the ext driver.)
 */
import type { DirectoryEntry, FileType } from "../iomap/contract.ts";
import type { Sleeps } from "../sync/sleep.ts";
import { readAttributes } from "../volume/attributes.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import { isDots, lockDirectoryShared, notDirectory, type Scope } from "../volume/paths.ts";
import { TYPE_BITS } from "../volume/stats.ts";
import { isAccessDue, noteAccess } from "./access-times.ts";
import type { Listings } from "./listings.ts";
import { BODY } from "./messages.ts";
import {
  DIRECTORY_RECORD_SIZE,
  DirectoryRecord,
  ENTRY_SIZE,
  OPEN_SIZE,
  OpenFlag,
  OpenOut,
  ReadIn,
  ReleaseIn,
} from "./protocol.ts";
import type { Operation, Serving } from "./serving.ts";

const GIVEN_BITS = 8;
const GIVEN_LIMIT = 2 ** GIVEN_BITS;
/** Entries asked of the driver at a time, at most. */
const ENTRIES_AT_ONCE = 512;
/** A record of READDIR without its name has 24 bytes; names have a few. */
const RECORD_BYTES_LIKELY = 40;

function align(bytes: number): number {
  return Math.ceil(bytes / 8) * 8;
}

export const opendir: Operation = function* (serving, scope) {
  const directory = yield* serving.inode(scope);
  if (!directory.isDirectory) throw notDirectory();
  const { reply } = serving;
  reply.clear(reply.body, OPEN_SIZE);
  OpenOut.handle.set(reply.view, reply.body, serving.listings.open());
  OpenOut.openFlags.set(reply.view, reply.body, yield* keptOf(serving, scope, directory));
  return OPEN_SIZE;
};

/** What the kernel may keep of a directory: nothing it has kept before where the time of access is to be set. */
function* keptOf(serving: Serving, scope: Scope, directory: InodeReference): Sleeps<number> {
  if (!serving.options.isAlone) return 0;
  if (yield* isAccessDue(serving, scope, directory, 0)) return OpenFlag.CACHE_DIR;
  return OpenFlag.CACHE_DIR | OpenFlag.KEEP_CACHE;
}

export const releasedir: Operation = function* (serving) {
  serving.listings.close(ReleaseIn.handle.get(serving.request.view, BODY));
  return 0;
};

export const readdir: Operation = (serving, scope) => list(serving, scope, false);

export const readdirplus: Operation = (serving, scope) => list(serving, scope, true);

function* list(serving: Serving, scope: Scope, withAttributes: boolean): Sleeps<number> {
  const directory = yield* serving.inode(scope);
  const length = yield* listInto(serving, scope, directory, withAttributes);
  yield* noteAccess(serving, scope, directory, ReadIn.flags.get(serving.request.view, BODY));
  return length;
}

function* listInto(
  serving: Serving,
  scope: Scope,
  directory: InodeReference,
  withAttributes: boolean,
): Sleeps<number> {
  const { request, reply, core } = serving;
  const size = Math.min(ReadIn.size.get(request.view, BODY), reply.bytes.length - reply.body);
  const handle = ReadIn.handle.get(request.view, BODY);
  const answer = new Answer(serving, withAttributes, size, startOf(serving, handle));
  using _lock = yield* lockDirectoryShared(scope.task, directory);
  const perEntry = RECORD_BYTES_LIKELY + (withAttributes ? ENTRY_SIZE : 0);
  const limit = Math.min(ENTRIES_AT_ONCE, Math.ceil(size / perEntry));
  for (let cursor: number | null = answer.cursor; cursor !== null; ) {
    const part: { entries: DirectoryEntry[]; cursor: number | null } = core.driver.readDirectory(
      directory.ino,
      cursor,
      limit,
    );
    for (const entry of part.entries) {
      if (answer.isPassed(entry)) continue;
      if (!answer.hasRoom(entry)) return answer.length;
      yield* answer.add(scope, directory, entry);
    }
    cursor = part.cursor;
  }
  return answer.length;
}

interface Start {
  readonly cursor: number;
  /** Names of this cursor that were given before. */
  readonly given: number;
  readonly handle: number;
}

function startOf({ request }: Serving, handle: number): Start {
  const at = BODY + ReadIn.offset.offset;
  const low = request.view.getUint32(at, true);
  const high = request.view.getUint32(at + 4, true);
  return {
    cursor: high * 2 ** (32 - GIVEN_BITS) + Math.floor(low / GIVEN_LIMIT),
    given: low % GIVEN_LIMIT,
    handle,
  };
}

/** One answer as it fills. */
class Answer {
  readonly cursor: number;
  length = 0;
  readonly #serving: Serving;
  readonly #withAttributes: boolean;
  readonly #size: number;
  readonly #listings: Listings;
  readonly #handle: number;
  /** Still to pass, of the names of the first cursor. */
  #toPass: number;
  readonly #passed: readonly Uint8Array[] | undefined;
  /** The names of the last cursor, in their order. */
  #last = -1;
  #names: Uint8Array[] = [];

  constructor(serving: Serving, withAttributes: boolean, size: number, start: Start) {
    this.#serving = serving;
    this.#withAttributes = withAttributes;
    this.#size = size;
    this.#listings = serving.listings;
    this.#handle = start.handle;
    this.cursor = start.cursor;
    this.#toPass = start.given;
    this.#passed = this.#listings.given(start.handle, start.cursor, start.given);
  }

  /** Whether the entry was given before. */
  isPassed({ cursor, name }: DirectoryEntry): boolean {
    this.#note(cursor, name);
    if (cursor !== this.cursor || this.#toPass === 0) return false;
    const known = this.#passed;
    if (known !== undefined && !known.some((each) => Buffer.compare(each, name) === 0)) {
      return false;
    }
    if (known === undefined) this.#toPass--;
    return true;
  }

  #note(cursor: number, name: Uint8Array): void {
    if (cursor !== this.#last) {
      this.#last = cursor;
      this.#names = [];
    }
    this.#names.push(name);
    if (this.#names.length > 1) this.#listings.note(this.#handle, cursor, this.#names);
  }

  get #recordAt(): number {
    return this.#withAttributes ? ENTRY_SIZE : 0;
  }

  hasRoom({ name }: DirectoryEntry): boolean {
    const bytes = this.#recordAt + align(DIRECTORY_RECORD_SIZE + name.length);
    return this.length + bytes <= this.#size;
  }

  /** Locks: the directory's. */
  *add(scope: Scope, directory: InodeReference, entry: DirectoryEntry): Sleeps<void> {
    const { core, reply } = this.#serving;
    const { name, ino } = entry;
    const at = reply.body + this.length;
    let type: FileType | null = entry.type;
    if (this.#withAttributes) {
      if (isDots(name)) reply.clear(at, ENTRY_SIZE);
      else {
        const inode = ino === directory.ino ? directory : yield* scope.reference(ino);
        const info = yield* readAttributes(scope.task, core, inode);
        this.#serving.tell(at, inode, info);
        type = info.type;
      }
    }
    type ??= core.driver.readInode(ino).type;
    this.#writeRecord(at + this.#recordAt, entry, type);
    this.length += this.#recordAt + align(DIRECTORY_RECORD_SIZE + name.length);
  }

  #writeRecord(at: number, { name, ino, cursor }: DirectoryEntry, type: FileType): void {
    const { bytes, view } = this.#serving.reply;
    const given = Math.min(this.#names.length, GIVEN_LIMIT - 1);
    const place = at + DirectoryRecord.offset.offset;
    DirectoryRecord.ino.set(view, at, ino);
    view.setUint32(place, (cursor % 2 ** (32 - GIVEN_BITS)) * GIVEN_LIMIT + given, true);
    view.setUint32(place + 4, Math.floor(cursor / 2 ** (32 - GIVEN_BITS)), true);
    DirectoryRecord.nameLength.set(view, at, name.length);
    DirectoryRecord.type.set(view, at, TYPE_BITS[type] / 2 ** 12);
    const nameAt = at + DIRECTORY_RECORD_SIZE;
    bytes.set(name, nameAt);
    bytes.fill(0, nameAt + name.length, at + align(DIRECTORY_RECORD_SIZE + name.length));
  }
}
