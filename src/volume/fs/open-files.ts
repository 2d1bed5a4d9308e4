/** What the face does with descriptors, apart from reading and writing. */
import type { FileHandle } from "../file.ts";
import type { Stats } from "../stats.ts";
import { pathBytes } from "./arguments.ts";
import { checkLength, sync, truncate } from "./contents.ts";
import { parseFlags } from "./flags.ts";
import { close, type Host } from "./host.ts";
import { onHandle, type Script } from "./script.ts";

type Owner = readonly [unknown, unknown];

export function* openFile(
  host: Host,
  path: unknown,
  flags: unknown,
  mode: unknown,
): Script<number> {
  const bytes = pathBytes("path", path);
  const file = yield* host.open(bytes, parseFlags(flags, "r"), mode as number | string | undefined);
  return host.descriptors.add(file);
}

export function* closeFile(host: Host, fd: unknown): Script<void> {
  yield* close(host.descriptors.take(fd, "close"));
}

export function* statFile(host: Host, fd: unknown): Script<Stats> {
  const { handle } = host.descriptors.get(fd, "fstat");
  return yield* onHandle("fstat", { sync: () => handle.statSync(), async: () => handle.stat() });
}

export function* truncateFile(host: Host, fd: unknown, length: unknown): Script<void> {
  const size = checkLength(length);
  yield* truncate(host.descriptors.get(fd, "ftruncate"), size);
}

export function* syncFile(host: Host, fd: unknown, syscall: "fsync" | "fdatasync"): Script<void> {
  yield* sync(host.descriptors.get(fd, syscall));
}

/** A change of attributes, in its two forms. */
function* change(
  host: Host,
  fd: unknown,
  syscall: string,
  blocking: (handle: FileHandle) => void,
  waiting: (handle: FileHandle) => Promise<void>,
): Script<void> {
  const { handle } = host.descriptors.get(fd, syscall);
  yield* onHandle(syscall, { sync: () => blocking(handle), async: () => waiting(handle) });
}

export function chmodFile(host: Host, fd: unknown, mode: unknown): Script<void> {
  const bits = mode as number | string;
  return change(
    host,
    fd,
    "fchmod",
    (handle) => handle.chmodSync(bits),
    (handle) => handle.chmod(bits),
  );
}

export function chownFile(host: Host, fd: unknown, owner: Owner): Script<void> {
  const [uid, gid] = owner as readonly [number, number];
  return change(
    host,
    fd,
    "fchown",
    (handle) => handle.chownSync(uid, gid),
    (handle) => handle.chown(uid, gid),
  );
}

export function setFileTimes(host: Host, fd: unknown, times: Owner): Script<void> {
  const [atime, mtime] = times as readonly [number, number];
  return change(
    host,
    fd,
    "futime",
    (handle) => handle.utimesSync(atime, mtime),
    (handle) => handle.utimes(atime, mtime),
  );
}
