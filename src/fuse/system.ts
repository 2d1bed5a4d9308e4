/** /dev/fuse, and putting it into the tree: by mount(2) as root, by fusermount3 as anybody else. */
import { spawn, spawnSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { Worker } from "node:worker_threads";
import { ERRNO, HoldfastError, systemError } from "../base/errors.ts";
import {
  addressOf,
  bindFunction,
  closeDescriptor,
  lastErrno,
  throwLastError,
} from "../base/libc.ts";
import { builtModule } from "../base/modules.ts";
import type { MountEntry } from "./mount-table.ts";
import type { SlowCall } from "./worker-messages.ts";

const openPath = bindFunction("int open(const char *path, int flags)");
const mountAt = bindFunction(
  "int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)",
);
const umount2 = bindFunction("int umount2(const char *target, int flags)");
const socketpair = bindFunction(
  "int socketpair(int domain, int type, int protocol, _Out_ uint8_t *pair)",
);
const recvmsg = bindFunction("intptr_t recvmsg(int fd, uintptr_t message, int flags)");

const ioctl = bindFunction("int ioctl(int fd, unsigned long request, _Inout_ uint8_t *argument)");

/** _IOR(229, 0, uint32_t) */
const FUSE_DEV_IOC_CLONE = 0x8004e500;
const O_RDWR = 2;
const O_CLOEXEC = 0o2000000;
const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const MSG_CMSG_CLOEXEC = 0x40000000;

const MountFlag = {
  readOnly: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  synchronous: 16,
  remount: 32,
  dirsync: 128,
  noatime: 1 << 10,
  nodiratime: 1 << 11,
  relatime: 1 << 21,
  strictatime: 1 << 24,
} as const;
const UnmountFlag = { none: 0, force: 1, lazy: 2 } as const;

/**
 * Which readings set the time of access, as mount(8) has it: none (noatime); the first one after a change, and one a day
 * (relatime); all that are asked for (strictatime).
 */
export type AccessTimes = "never" | "relative" | "always";

export const ACCESS_TIMES: readonly AccessTimes[] = ["never", "relative", "always"];

/**
 * What is durable when it is answered, as mount(8) has it: nothing by itself (async); changes of names (dirsync); all
 * changes (sync).
 */
export type Synchronous = "nothing" | "names" | "all";

const FLAG_OF_SYNCHRONOUS: Readonly<Record<Synchronous, number>> = {
  nothing: 0,
  names: MountFlag.dirsync,
  all: MountFlag.synchronous,
};
export const SYNCHRONOUS: readonly Synchronous[] = ["nothing", "names", "all"];

/** How it is mounted. */
export interface SystemOptions {
  readonly source: string;
  /** "fuse", or "fuse." and something. */
  readonly type: string;
  readonly readOnly: boolean;
  readonly suid: boolean;
  readonly dev: boolean;
  readonly exec: boolean;
  readonly allowOther: boolean;
  readonly accessTimes: AccessTimes;
  readonly directoryAccessTimes: boolean;
  readonly synchronous: Synchronous;
}

/** The kernel sets no times of access here; so it shows what is done, and need not think that reading changes any. */
const FLAG_OF_ACCESS_TIMES: Readonly<Record<AccessTimes, number>> = {
  never: MountFlag.noatime,
  relative: MountFlag.relatime,
  always: MountFlag.strictatime,
};

/** Puts a filesystem on a directory. Returns the descriptor of /dev/fuse that it is served by. Throws: EPERM and others. */
export async function mountFuse(directory: string, options: SystemOptions): Promise<number> {
  return process.getuid?.() === 0
    ? mountAsRoot(directory, options)
    : await mountByHelper(directory, options);
}

function mountAsRoot(directory: string, options: SystemOptions): number {
  const fd = openPath("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd < 0) throwLastError("open", { path: "/dev/fuse" });
  const data = [
    `fd=${fd},rootmode=40000,user_id=0,group_id=0,default_permissions`,
    ...(options.allowOther ? ["allow_other"] : []),
  ];
  let flags = FLAG_OF_ACCESS_TIMES[options.accessTimes] | FLAG_OF_SYNCHRONOUS[options.synchronous];
  if (!options.directoryAccessTimes) flags |= MountFlag.nodiratime;
  if (options.readOnly) flags |= MountFlag.readOnly;
  if (!options.suid) flags |= MountFlag.nosuid;
  if (!options.dev) flags |= MountFlag.nodev;
  if (!options.exec) flags |= MountFlag.noexec;
  if (mountAt(options.source, directory, options.type, flags, data.join(",")) < 0) {
    const errno = lastErrno();
    closeDescriptor(fd);
    throw systemError(errno, "mount", { path: directory });
  }
  return fd;
}

/** Flags by the words of mount(8), which the mount table has, too. */
const FLAG_OF_WORD: Readonly<Record<string, number>> = {
  ro: MountFlag.readOnly,
  nosuid: MountFlag.nosuid,
  nodev: MountFlag.nodev,
  noexec: MountFlag.noexec,
  sync: MountFlag.synchronous,
  dirsync: MountFlag.dirsync,
  noatime: MountFlag.noatime,
  nodiratime: MountFlag.nodiratime,
  relatime: MountFlag.relatime,
};
/** Of those that can be changed of a mount that is there: the words that take a flag away. */
const OPPOSITE: Readonly<Record<string, number>> = {
  rw: MountFlag.readOnly,
  suid: MountFlag.nosuid,
  dev: MountFlag.nodev,
  exec: MountFlag.noexec,
};
export const REMOUNT_WORDS: readonly string[] = [
  "ro",
  "nosuid",
  "nodev",
  "noexec",
  ...Object.keys(OPPOSITE),
];

/**
 * Changes a mount by some of REMOUNT_WORDS; the rest stays as it is. What programs have written is durable when it is
 * read-only. Throws: EPERM for others than root; EBUSY where files are open to be written to.
 */
export function remountFuse(
  { directory, source, type, options }: MountEntry,
  words: readonly string[],
): void {
  let flags: number = MountFlag.remount;
  for (const word of options) flags |= FLAG_OF_WORD[word] ?? 0;
  if (!options.includes("noatime") && !options.includes("relatime")) flags |= MountFlag.strictatime;
  for (const word of words) flags = (flags | (FLAG_OF_WORD[word] ?? 0)) & ~(OPPOSITE[word] ?? 0);
  if (mountAt(source, directory, type, flags, "") < 0) {
    throwLastError("mount", { path: directory });
  }
}

/**
 * Another descriptor of /dev/fuse for the same mount, which the kernel was answered for: what is read from it is
 * answered there. Source: FUSE_DEV_IOC_CLONE of linux/fuse.h. Throws: EACCES, EMFILE.
 */
export function cloneDevice(fd: number): number {
  const clone = openPath("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (clone < 0) throwLastError("open", { path: "/dev/fuse" });
  const original = new Uint8Array(Uint32Array.of(fd).buffer);
  if (ioctl(clone, FUSE_DEV_IOC_CLONE, original) < 0) {
    const errno = lastErrno();
    closeDescriptor(clone);
    throw systemError(errno, "ioctl", { path: "/dev/fuse" });
  }
  return clone;
}

/** Runs fusermount3. Throws: EPERM with what it said, ENOENT where it is not installed. */
async function runHelper(args: readonly string[], channel: number | null): Promise<void> {
  const child = spawn("fusermount3", args, {
    env: { ...process.env, ...(channel === null ? {} : { _FUSE_COMMFD: "3" }) },
    stdio: ["ignore", "ignore", "pipe", ...(channel === null ? [] : [channel])],
  });
  let said = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const code = await new Promise<number | null>((resolve, reject) => {
    child.on("error", () => {
      const what = "only root mounts without fusermount3; install Debian's fuse3";
      reject(new HoldfastError("ENOENT", what, { syscall: "mount" }));
    });
    child.on("close", resolve);
  });
  if (code !== 0) throw new HoldfastError("EPERM", said.trim() || `fusermount3 failed (${code})`);
}

async function mountByHelper(directory: string, options: SystemOptions): Promise<number> {
  const pair = new Uint8Array(8);
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0) throwLastError("socketpair");
  const view = new DataView(pair.buffer);
  const [ours, theirs] = [view.getInt32(0, true), view.getInt32(4, true)];
  try {
    const subtype = /^fuse\.(.+)$/.exec(options.type)?.[1];
    const told = [
      `fsname=${options.source.replace(/[\\,]/g, "\\$&")}`,
      ...(subtype === undefined ? [] : [`subtype=${subtype}`]),
      "default_permissions",
      ...(options.allowOther ? ["allow_other"] : []),
      ...(options.readOnly ? ["ro"] : []),
      ...(options.exec ? [] : ["noexec"]),
      // fusermount3 knows no other word for it.
      ...(options.accessTimes === "never" ? ["noatime"] : []),
      ...(options.synchronous === "all" ? ["sync"] : []),
      ...(options.synchronous === "names" ? ["dirsync"] : []),
    ];
    await runHelper(["-o", told.join(","), "--", directory], theirs);
    return receiveDescriptor(ours);
  } finally {
    closeDescriptor(ours);
    closeDescriptor(theirs);
  }
}

/**
 * The descriptor that came with one byte over a socket. struct msghdr: name, its length, iovec, their number, control,
 * its length, flags; struct cmsghdr: length, level, type, then the descriptor. Source: recvmsg(2), cmsg(3), on 64 bits.
 */
function receiveDescriptor(socket: number): number {
  const bytes = new Uint8Array(new ArrayBuffer(4096));
  const view = new DataView(bytes.buffer);
  const base = addressOf(bytes);
  const [vector, control, data] = [64, 128, 256];
  const setAddress = (at: number, value: number): void =>
    view.setBigUint64(at, BigInt(value), true);
  setAddress(16, base + vector);
  setAddress(24, 1);
  setAddress(32, base + control);
  setAddress(40, 24);
  setAddress(vector, base + data);
  setAddress(vector + 8, 1);
  if (recvmsg(socket, base, MSG_CMSG_CLOEXEC) < 0) throwLastError("recvmsg");
  const level = view.getInt32(control + 8, true);
  const type = view.getInt32(control + 12, true);
  if (level !== SOL_SOCKET || type !== SCM_RIGHTS) {
    throw new HoldfastError("EIO", "fusermount3 has sent no descriptor", { syscall: "recvmsg" });
  }
  return view.getInt32(control + 16, true);
}

/** In a thread of its own: the kernel may write to the mount meanwhile, which this process serves. Returns errno. */
async function callSlowly(call: SlowCall): Promise<number> {
  const worker = new Worker(builtModule("fuse/unmount-worker.js"), {
    workerData: call,
    execArgv: [],
  });
  return await new Promise<number>((resolve, reject) => {
    worker.once("message", resolve);
    worker.once("error", reject);
  });
}

/**
 * Takes a mount away. "lazy": out of the tree at once, and for good with its last user. "force": what uses it fails from
 * now on, when all that the kernel holds of it has been written; then as "lazy".
 * Throws: EBUSY, EINVAL when nothing is mounted there, EPERM.
 */
export async function unmountFuse(
  { directory, device }: Pick<MountEntry, "directory" | "device">,
  how: "now" | "lazy" | "force",
): Promise<void> {
  if (how === "force") {
    await callSlowly({ what: "sync", directory });
    endConnection(device);
  }
  if (process.getuid?.() !== 0) {
    await runHelper(["-u", ...(how === "now" ? [] : ["-z"]), "--", directory], null);
    return;
  }
  if (how === "force") await callSlowly({ what: "unmount", directory, flags: UnmountFlag.force });
  const flags = how === "now" ? UnmountFlag.none : UnmountFlag.lazy;
  const errno = await callSlowly({ what: "unmount", directory, flags });
  // Of what was forced, the kernel may have taken it away itself.
  if (errno !== 0 && !(how === "force" && errno === ERRNO.EINVAL)) {
    throw systemError(errno, "umount", { path: directory });
  }
}

/** As `unmountFuse` by force, for a process that ends: at once, whatever is lost. */
export function abandonFuse({ directory, device }: Pick<MountEntry, "directory" | "device">): void {
  endConnection(device);
  if (process.getuid?.() !== 0) {
    spawnSync("fusermount3", ["-u", "-z", "--", directory], { stdio: "ignore" });
    return;
  }
  umount2(directory, UnmountFlag.force);
  umount2(directory, UnmountFlag.lazy);
}

/** Ends a connection by its number, where the kernel's control files are mounted: its user may do so. */
function endConnection(device: string): void {
  try {
    writeFileSync(`/sys/fs/fuse/connections/${device.split(":")[1]}/abort`, "1");
  } catch {
    // Root has another way; others wait for the last user of the mount.
  }
}
