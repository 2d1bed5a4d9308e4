/** The options of `holdfast mount` and `holdfast umount`. */
import type { DaxMode, MountOptions } from "../../index.ts";
import { type KernelMountOptions, REMOUNT_WORDS, SERVERS_MAX } from "../../fuse/index.ts";
import { type CommandSpec, oneOf, readArguments, UsageError, wholeNumber } from "../usage.ts";

export interface MountCommandOptions {
  readonly image: string;
  readonly directory: string;
  readonly volume: Pick<MountOptions, "readOnly" | "dax" | "discard" | "commitSeconds">;
  readonly kernel: KernelMountOptions;
  readonly foreground: boolean;
  /** Where to append what goes wrong in the background; null: nowhere. */
  readonly log: string | null;
  /** The words of -o, where they change a mount that is there; else null. */
  readonly remount: readonly string[] | null;
}

export const MOUNT_SPEC: CommandSpec = {
  name: "mount",
  about: "Mounts an ext2, ext3 or ext4 volume in the system's tree of files, for all programs.",
  usage: ["[OPTIONS] IMAGE DIRECTORY"],
  completes: "host path",
  options: [
    ["-o, --options <list>", "how it is mounted, below; separated by commas", null, "repeats"],
    ["-f, --foreground", "do not go into the background; Ctrl-C unmounts"],
    ["-b, --background", "go into the background when it is mounted", "the default"],
    ["--log <file>", "what goes wrong in the background is appended here"],
  ],
  notes: `IMAGE is an image file or a block device that nobody has mounted; this process has it alone. It is served
in the background, until 'holdfast umount DIRECTORY', umount(8), fusermount3 -u, or SIGINT or SIGTERM to
the process. By who is not root it is mounted through fusermount3, of Debian's package fuse3.

For -o, as mount(8) has them:
  ro, rw                  read only, or not (rw)
  allow_other             everybody may use it (by root)
  allow_root_only         only who has mounted it may (by others)
  suid, nosuid            whether set-id bits count (nosuid)
  dev, nodev              whether device files are devices (nodev)
  exec, noexec            whether programs can be run (exec)
  fsname=NAME             what is shown as mounted (the image)
  subtype=NAME            the type that is shown is fuse.NAME; empty: fuse (holdfast)
  dax=always|inode|never  which files are reached directly (always)
  commit=SECONDS          how soon what has changed is durable (5)
  threads=N               threads that serve it: so many requests can wait at a time (4)
  discard                 tell the device of blocks that were freed
  writeback               the kernel collects what is written: docs/mount.md says the cost
  noatime                 reading changes no times of access (so it is without a word)
  relatime                the first reading after a change does, and one a day
  strictatime             all reading does that the kernel asks for
  diratime, nodiratime    whether reading directories does, too (diratime)
  remount                 change ro, suid, dev or exec of a mount that is there
  sync, dirsync, async    what is durable when answered: all, changes of names, nothing (async)
  default_permissions, auto_unmount are always so, and accepted, and so is x-anything`,
  examples: [
    "holdfast mount disk.img /mnt",
    "holdfast mount -o ro,noexec /dev/vdb /mnt",
    "holdfast mount --foreground disk.img ~/disk",
  ],
  exitCodes: `Exit codes: 0 mounted, and with --foreground unmounted again; 1 not mounted, or not left in order;
2 wrong usage.`,
};

export const UMOUNT_SPEC: CommandSpec = {
  name: "umount",
  about: "Unmounts what 'holdfast mount' has mounted, and waits until its volume is left in order.",
  usage: ["[OPTIONS] DIRECTORY"],
  completes: "host path",
  options: [
    [
      "-l, --lazy",
      "take it out of the tree also while programs use it; it ends with the last of them",
    ],
    ["-f, --force", "end it also while programs use it: what they do there fails"],
  ],
  examples: ["holdfast umount /mnt", "holdfast umount --force /mnt && e2fsck -fn disk.img"],
  exitCodes: `Exit codes: 0 unmounted, with --lazy perhaps later; 1 not unmounted, or not left in order;
2 wrong usage.`,
};

const DAX_MODES: readonly DaxMode[] = ["always", "inode", "never"];
const COMMIT_SECONDS_MAX = 86_400;

type Mutable<T> = { -readonly [name in keyof T]: T[name] };

interface Chosen {
  readonly volume: Mutable<MountCommandOptions["volume"]>;
  readonly kernel: Mutable<KernelMountOptions>;
}

/** What each word of -o does. */
const WORDS: Readonly<Record<string, (chosen: Chosen) => void>> = {
  ro: ({ volume }) => {
    volume.readOnly = true;
  },
  rw: ({ volume }) => {
    volume.readOnly = false;
  },
  allow_other: ({ kernel }) => {
    kernel.allowOther = true;
  },
  allow_root_only: ({ kernel }) => {
    kernel.allowOther = false;
  },
  suid: ({ kernel }) => {
    kernel.suid = true;
  },
  nosuid: ({ kernel }) => {
    kernel.suid = false;
  },
  dev: ({ kernel }) => {
    kernel.dev = true;
  },
  nodev: ({ kernel }) => {
    kernel.dev = false;
  },
  exec: ({ kernel }) => {
    kernel.exec = true;
  },
  noexec: ({ kernel }) => {
    kernel.exec = false;
  },
  writeback: ({ kernel }) => {
    kernel.writeback = true;
  },
  discard: ({ volume }) => {
    volume.discard = true;
  },
  defaults: () => {},
  default_permissions: () => {},
  async: ({ kernel }) => {
    kernel.synchronous = "nothing";
  },
  sync: ({ kernel }) => {
    kernel.synchronous = "all";
  },
  dirsync: ({ kernel }) => {
    kernel.synchronous = "names";
  },
  noatime: ({ kernel }) => {
    kernel.accessTimes = "never";
  },
  relatime: ({ kernel }) => {
    kernel.accessTimes = "relative";
  },
  strictatime: ({ kernel }) => {
    kernel.accessTimes = "always";
  },
  diratime: ({ kernel }) => {
    kernel.directoryAccessTimes = true;
  },
  nodiratime: ({ kernel }) => {
    kernel.directoryAccessTimes = false;
  },
  auto_unmount: () => {},
};

/** What each name of -o does with the value behind its equals sign. */
const SETTINGS: Readonly<Record<string, (chosen: Chosen, value: string) => void>> = {
  fsname: ({ kernel }, value) => {
    kernel.source = value;
  },
  subtype: ({ kernel }, value) => {
    kernel.subtype = value;
  },
  dax: ({ volume }, value) => {
    volume.dax = oneOf("options dax", value, DAX_MODES);
  },
  commit: ({ volume }, value) => {
    volume.commitSeconds = wholeNumber("options commit", value, 0, COMMIT_SECONDS_MAX);
  },
  threads: ({ kernel }, value) => {
    kernel.threads = wholeNumber("options threads", value, 1, SERVERS_MAX);
  },
};

/** Without what begins with x-, which is for others to read: mount(8). */
function wordsOf(lists: readonly string[]): string[] {
  const words = lists.flatMap((list) => list.split(","));
  return words.filter((word) => word !== "" && !/^x-/i.test(word));
}

/** Of a mount that is there: words that say nothing of it that could be otherwise. */
const NO_CHANGE: ReadonlySet<string> = new Set([
  "remount",
  "defaults",
  "default_permissions",
  "auto_unmount",
]);
/** What the mount table shows, too. */
const SHOWN: ReadonlySet<string> = new Set("sync dirsync noatime relatime nodiratime".split(" "));

/**
 * Which words change a mount that is there, and has these options. `kept`: what stays as it is, whatever they say: with
 * mount(8) they may be those of /etc/fstab. Throws: UsageError.
 */
export function chooseChanges(
  words: readonly string[],
  has: readonly string[],
): { readonly changes: readonly string[]; readonly kept: readonly string[] } {
  const [changes, kept]: [string[], string[]] = [[], []];
  for (const word of words) {
    if (REMOUNT_WORDS.includes(word)) changes.push(word);
    else if (NO_CHANGE.has(word) || has.includes(word)) continue;
    else if (SHOWN.has(word)) {
      throw new UsageError(`-o remount does not change '${word}'; unmount it, and mount it so`);
    } else {
      choose([word], { volume: {}, kernel: {} });
      kept.push(word);
    }
  }
  return { changes, kept };
}

/** Throws: UsageError. */
function choose(words: readonly string[], chosen: Chosen): void {
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const table = equals < 0 ? WORDS : SETTINGS;
    if (!Object.hasOwn(table, name)) throw new UsageError(`-o does not know '${word}'`);
    if (equals < 0) WORDS[name]!(chosen);
    else SETTINGS[name]!(chosen, word.slice(equals + 1));
  }
}

/** Throws: UsageError. */
export function parseMountOptions(args: readonly string[]): MountCommandOptions {
  const { values, positionals } = readArguments(args, MOUNT_SPEC);
  const [image, directory, ...rest] = positionals;
  if (image === undefined) throw new UsageError("give an image file or a block device");
  if (directory === undefined) throw new UsageError("give a directory to mount it on");
  if (rest.length > 0) throw new UsageError(`give two paths, not ${positionals.length}`);
  if (values["foreground"] === true && values["background"] === true) {
    throw new UsageError("give --foreground or --background, not both");
  }
  const chosen: Chosen = { volume: {}, kernel: { alone: true } };
  const words = wordsOf((values["options"] as readonly string[] | undefined) ?? []);
  const isRemount = words.includes("remount");
  if (!isRemount) choose(words, chosen);
  const log = values["log"];
  return {
    image,
    directory,
    ...chosen,
    remount: isRemount ? words : null,
    foreground: values["foreground"] === true,
    log: log === undefined ? null : String(log),
  };
}

export interface UmountCommandOptions {
  readonly directory: string;
  readonly lazy: boolean;
  readonly force: boolean;
}

/** Throws: UsageError. */
export function parseUmountOptions(args: readonly string[]): UmountCommandOptions {
  const { values, positionals } = readArguments(args, UMOUNT_SPEC);
  const [directory, ...rest] = positionals;
  if (directory === undefined) throw new UsageError("give the directory that it is mounted on");
  if (rest.length > 0) throw new UsageError(`give one directory, not ${positionals.length}`);
  return { directory, lazy: values["lazy"] === true, force: values["force"] === true };
}
