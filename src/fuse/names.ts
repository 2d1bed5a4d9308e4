/** LOOKUP, and what makes, removes and changes names. */
import { ERRNO, HoldfastError } from "../base/errors.ts";
import type { FileType } from "../iomap/contract.ts";
import type { Sleeps } from "../sync/sleep.ts";
import type { InodeReference } from "../volume/inode-reference.ts";
import { PERMISSIONS } from "../volume/mode-bits.ts";
import {
  createAt,
  createNameless,
  type Draft,
  isDirectory,
  makeLinkAt,
  type RenameMode,
  removeDirectoryAt,
  removeFileAt,
  renameAt,
} from "../volume/names.ts";
import { isDot, type Place, readTarget, type Scope } from "../volume/paths.ts";
import { TYPE_BITS } from "../volume/stats.ts";
import { noteAccess } from "./access-times.ts";
import { answerOpen, prepareOpen } from "./files.ts";
import { BODY, decodeDevice } from "./messages.ts";
import { CreateIn, ENTRY_SIZE, LinkIn, MkdirIn, MknodIn, Rename2In, RenameIn } from "./protocol.ts";
import type { Operation, Serving } from "./serving.ts";

const O_EXCL = 0o200;
const RENAME_NOREPLACE = 1;
const RENAME_EXCHANGE = 2;
const TYPE_MASK = 0o170000;
const SYMLINK_MODE = 0o777;

export const lookup: Operation = function* (serving, scope) {
  const { directory, name } = yield* serving.place(scope, 0);
  // A file handle is opened by the name "." of what it stands for.
  const found = isDot(name) ? directory : yield* scope.step(directory, name);
  if (found !== null) return yield* serving.entry(scope, found);
  if (!serving.options.isAlone) return -ERRNO.ENOENT;
  serving.reply.entry(serving.reply.body, 0, null, 0, serving.valid);
  return ENTRY_SIZE;
};

function typeOfMode(mode: number): FileType {
  const bits = mode & TYPE_MASK;
  for (const [type, typeBits] of Object.entries(TYPE_BITS)) {
    if (typeBits === bits) return type as FileType;
  }
  throw new HoldfastError("EINVAL", `mode ${mode.toString(8)} names no type`);
}

function* make(serving: Serving, scope: Scope, place: Place, draft: Draft): Sleeps<InodeReference> {
  serving.core.assertWritable();
  return yield* createAt(scope, place, draft);
}

export const mknod: Operation = function* (serving, scope) {
  const { view } = serving.request;
  const mode = MknodIn.mode.get(view, BODY);
  const type = typeOfMode(mode);
  const isDevice = type === "character-device" || type === "block-device";
  const place = yield* serving.place(scope, MknodIn.structure.size);
  const made = yield* make(serving, scope, place, {
    type,
    mode: mode & PERMISSIONS,
    maker: serving.maker(MknodIn.umask.get(view, BODY)),
    ...(isDevice ? decodeDevice(MknodIn.device.get(view, BODY)) : {}),
  });
  return yield* serving.entry(scope, made);
};

export const mkdir: Operation = function* (serving, scope) {
  const { view } = serving.request;
  const place = yield* serving.place(scope, MkdirIn.structure.size);
  const made = yield* make(serving, scope, place, {
    type: "directory",
    mode: MkdirIn.mode.get(view, BODY) & PERMISSIONS,
    maker: serving.maker(MkdirIn.umask.get(view, BODY)),
  });
  return yield* serving.entry(scope, made);
};

export const symlink: Operation = function* (serving, scope) {
  const place = yield* serving.place(scope, 0);
  const target = serving.request.nameAt(place.name.length + 1);
  const made = yield* make(serving, scope, place, {
    type: "symlink",
    mode: SYMLINK_MODE,
    maker: serving.maker(0),
    target,
  });
  return yield* serving.entry(scope, made);
};

export const readlink: Operation = function* (serving, scope) {
  const symlink = yield* serving.inode(scope);
  const target = yield* readTarget(scope, symlink);
  serving.reply.bytes.set(target, serving.reply.body);
  const { length } = target;
  yield* noteAccess(serving, scope, symlink, 0);
  return length;
};

export const link: Operation = function* (serving, scope) {
  const existing = LinkIn.node.get(serving.request.view, BODY);
  const inode = yield* serving.nodes.find(scope, existing);
  const place = yield* serving.place(scope, LinkIn.structure.size);
  // The kernel refuses what has lost its last name; it asks for what was made without one (O_TMPFILE).
  yield* makeLinkAt(scope, inode, place, true);
  return yield* serving.entry(scope, inode);
};

export const unlink: Operation = function* (serving, scope) {
  yield* removeFileAt(scope, yield* serving.place(scope, 0));
  return 0;
};

export const rmdir: Operation = function* (serving, scope) {
  yield* removeDirectoryAt(scope, yield* serving.place(scope, 0));
  return 0;
};

export const rename: Operation = (serving, scope) =>
  moveName(serving, scope, RenameIn.structure.size, "replace");

export const rename2: Operation = (serving, scope) => {
  const flags = Rename2In.flags.get(serving.request.view, BODY);
  const { size } = Rename2In.structure;
  if (flags === 0) return moveName(serving, scope, size, "replace");
  if (flags === RENAME_NOREPLACE) return moveName(serving, scope, size, "noreplace");
  if (flags === RENAME_EXCHANGE) return moveName(serving, scope, size, "exchange");
  throw new HoldfastError("EINVAL", `renaming with flags ${flags} is not done`);
};

function* moveName(
  serving: Serving,
  scope: Scope,
  namesAt: number,
  mode: RenameMode,
): Sleeps<number> {
  const from = yield* serving.place(scope, namesAt);
  const newDirectory = RenameIn.directory.get(serving.request.view, BODY);
  const to: Place = {
    directory: yield* serving.nodes.find(scope, newDirectory),
    name: serving.request.nameAt(namesAt + from.name.length + 1),
    kind: "name",
    trailingSlash: false,
  };
  yield* renameAt(scope, from, to, mode);
  return 0;
}

/** The answer to CREATE and TMPFILE: the entry, and how it is opened. */
function* opened(serving: Serving, scope: Scope, inode: InodeReference): Sleeps<number> {
  const { reply, request } = serving;
  yield* serving.entry(scope, inode);
  const flags = CreateIn.flags.get(request.view, BODY);
  const at = reply.body + ENTRY_SIZE;
  return ENTRY_SIZE + (yield* answerOpen(serving, scope, inode, flags, at));
}

function draftOf(serving: Serving): Draft {
  const { view } = serving.request;
  const mode = CreateIn.mode.get(view, BODY) & PERMISSIONS;
  return { type: "file", mode, maker: serving.maker(CreateIn.umask.get(view, BODY)) };
}

export const create: Operation = function* (serving, scope) {
  const { core, request } = serving;
  const flags = CreateIn.flags.get(request.view, BODY);
  const place = yield* serving.place(scope, CreateIn.structure.size);
  core.assertWritable();
  for (;;) {
    try {
      const made = yield* createAt(scope, place, draftOf(serving));
      return yield* opened(serving, scope, made);
    } catch (error) {
      const exists = error instanceof HoldfastError && error.code === "EEXIST";
      if (!exists || (flags & O_EXCL) !== 0) throw error;
    }
    // Made by others since the kernel has looked.
    const found = yield* scope.step(place.directory, place.name);
    if (found === null) continue;
    if (found.isDirectory) throw isDirectory();
    if (found.type !== "file") throw new HoldfastError("ESTALE", `is a ${found.type}`);
    yield* prepareOpen(serving, scope, found, CreateIn);
    return yield* opened(serving, scope, found);
  }
};

export const tmpfile: Operation = function* (serving, scope) {
  serving.core.assertWritable();
  const directory = yield* serving.inode(scope);
  return yield* opened(serving, scope, yield* createNameless(scope, directory, draftOf(serving)));
};
