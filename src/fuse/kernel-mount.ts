/** A volume in the kernel's tree of files. */
import { realpathSync, writeFileSync } from "node:fs";
import { HoldfastError, withContext } from "../base/errors.ts";
import { checkInteger } from "../volume/arguments.ts";
import type { Volume } from "../volume/volume.ts";
import { Guard } from "./guard.ts";
import { SERVERS_MAX } from "./mount-area.ts";
import { mountOn } from "./mount-table.ts";
import { startServers, type Trouble } from "./servers.ts";
import {
  ACCESS_TIMES,
  type AccessTimes,
  abandonFuse,
  mountFuse,
  SYNCHRONOUS,
  type Synchronous,
  unmountFuse,
} from "./system.ts";

export interface KernelMountOptions {
  /** What the system shows as mounted: an image's path. Default "holdfast". */
  readonly source?: string;
  /** The type that the system shows is "fuse." and this; "": "fuse". Default "holdfast". */
  readonly subtype?: string;
  /** Whether all users may use it, as far as permissions go. Default: where root mounts. */
  readonly allowOther?: boolean;
  readonly readOnly?: boolean;
  /** Whether set-id bits count. By root only. Default false. */
  readonly suid?: boolean;
  /** Whether device files are devices. By root only. Default false. */
  readonly dev?: boolean;
  /** Whether programs can be run. Default true. */
  readonly exec?: boolean;
  /**
   * The volume is changed through this mount alone, for as long as it lasts: then the kernel keeps what it has read.
   * Whoever changes the volume otherwise has programs see what was there before. Default false: the kernel asks
   * each time, and reads past its page cache.
   */
  readonly alone?: boolean;
  /**
   * The kernel collects what programs write, and says so only at fsync and close where there is no room. Needs
   * `alone`. Default false.
   */
  readonly writeback?: boolean;
  /** Which readings by programs set the time of access. Default "never". */
  readonly accessTimes?: AccessTimes;
  /** Whether those of directories do, too. Default true. */
  readonly directoryAccessTimes?: boolean;
  /** What is durable when programs are told that it is done. Default "nothing". */
  readonly synchronous?: Synchronous;
  /** KiB that are read ahead, where root mounts. Default 1024. */
  readonly readAheadKiB?: number;
  /** Threads that serve it: as many requests can wait, or run, at a time. 1 to 16; default 4. */
  readonly threads?: number;
  /** Told of what goes wrong and is no program's own error: damage, a device that fails. Default: a process warning. */
  readonly onTrouble?: (trouble: Trouble) => void;
}

export interface UnmountOptions {
  /** Takes it out of the tree also while it is in use; it ends with its last user. Default false. */
  readonly lazy?: boolean;
  /** Also ends what uses it: their files fail. What they have written is in the volume. Default false. */
  readonly force?: boolean;
}

const READ_AHEAD_KIB = 1024;
const THREADS = 4;

/** Names in the mount table end with a blank, and options with a comma; the kernel takes a page of them. */
function checkName(name: string, value: string): string {
  if (/[\0\n]/.test(value)) throw new HoldfastError("EINVAL", `${name} contains a newline or zero`);
  return value;
}

function checkWord(name: string, value: string, words: readonly string[]): void {
  if (words.includes(value)) return;
  throw new HoldfastError("EINVAL", `${name} must be one of ${words.join(", ")}`);
}

/**
 * Mounts a volume on a directory, for all programs. It lasts until `unmount`, or until somebody unmounts it; the volume is
 * in use as long, and stays mounted in this process afterwards. A process that dies leaves no mount behind, where there are
 * a shell and umount(8).
 *
 * This thread must not wait, blocking, for what the mount does while it holds what that needs: a pin of a file that a
 * program truncates. Other uses of the mount from this process are as anybody's: another thread serves it.
 *
 * Throws: EPERM, for who is not root without fusermount3 ENOENT; ENOENT, ENOTDIR for the directory; ENODEV without FUSE
 * in the kernel; EOPNOTSUPP for volumes that are not ext.
 */
export async function mountInKernel(
  volume: Volume,
  directory: string,
  options: KernelMountOptions = {},
): Promise<KernelMount> {
  try {
    return await KernelMount.make(volume, directory, options);
  } catch (error) {
    throw withContext(error, { syscall: "mount", path: directory });
  }
}

export class KernelMount implements AsyncDisposable {
  /** Where it is, absolute. */
  readonly directory: string;
  /** The number that its files have as their device, as the mount table writes it: "0:52". */
  readonly device: string;
  /** Settles when the mount has ended, whoever ended it: the volume may be closed then. */
  readonly ended: Promise<void>;
  #isOver = false;

  /** Use `mountInKernel`. */
  private constructor(directory: string, device: string, ended: Promise<void>) {
    this.directory = directory;
    this.device = device;
    this.ended = ended.finally(() => {
      this.#isOver = true;
    });
    // Whoever awaits it is told.
    this.ended.catch(() => {});
  }

  /** Use `mountInKernel`. */
  static async make(
    volume: Volume,
    directory: string,
    options: KernelMountOptions,
  ): Promise<KernelMount> {
    if (!volume.type.startsWith("ext")) {
      const what = `a ${volume.type} volume has no lasting places in its directories to go on reading at`;
      throw new HoldfastError("EOPNOTSUPP", what);
    }
    const place = realpathSync(directory);
    const { subtype = "holdfast", source = "holdfast", alone = false, writeback = false } = options;
    const threads = checkInteger("options.threads", options.threads ?? THREADS, 1, SERVERS_MAX);
    if (writeback && !alone) {
      throw new HoldfastError("EINVAL", "writeback needs a volume that is used by the mount alone");
    }
    const { accessTimes = "never", directoryAccessTimes = true } = options;
    checkWord("options.accessTimes", accessTimes, ACCESS_TIMES);
    const { synchronous = "nothing" } = options;
    checkWord("options.synchronous", synchronous, SYNCHRONOUS);
    const fd = await mountFuse(place, {
      source: checkName("options.source", source),
      type: subtype === "" ? "fuse" : `fuse.${checkName("options.subtype", subtype)}`,
      readOnly: options.readOnly === true || volume.readOnly,
      suid: options.suid === true,
      dev: options.dev === true,
      exec: options.exec !== false,
      allowOther: options.allowOther ?? process.getuid?.() === 0,
      accessTimes,
      directoryAccessTimes,
      synchronous,
    });
    const device = mountOn(place)?.device ?? "";
    const entry = { directory: place, device };
    const isThere = (): boolean => mountOn(place)?.device === device;
    const served = await startServers({
      handle: volume.share(),
      fd,
      count: threads,
      options: { isAlone: alone, writeback, accessTimes, directoryAccessTimes, synchronous },
      onTrouble: options.onTrouble ?? warn,
      endMount: () => {
        if (isThere()) abandonFuse(entry);
      },
    });
    setReadAhead(device, options.readAheadKiB ?? READ_AHEAD_KIB);
    const guard = new Guard(place, device);
    // Threads that block in the kernel keep the process from ending: they are woken.
    const onExit = (): void => abandonFuse(entry);
    process.on("exit", onExit);
    const ended = served.ended.finally(async () => {
      // Its end may have been another than an unmount: a connection that was aborted, a failure of ours.
      if (isThere()) await unmountFuse(entry, "lazy").catch(() => {});
      process.off("exit", onExit);
      guard[Symbol.dispose]();
    });
    return new KernelMount(place, device, ended);
  }

  /** Whether the mount has ended. */
  get isOver(): boolean {
    return this.#isOver;
  }

  /**
   * Unmounts, and waits until all that programs have written is in the volume. With `lazy` that may last as long as they
   * use it. Throws: EBUSY while programs use it, without `lazy` or `force`.
   */
  async unmount({ lazy = false, force = false }: UnmountOptions = {}): Promise<void> {
    if (this.#isOver) return;
    try {
      await unmountFuse(this, "now");
    } catch (error) {
      if (this.#isOver) return;
      if (!lazy && !force) throw error;
      await unmountFuse(this, force ? "force" : "lazy");
    }
    await this.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.unmount({ force: true });
  }
}

function warn({ operation, text }: Trouble): void {
  process.emitWarning(`serving ${operation}: ${text}`);
}

/** How far the kernel reads ahead of who reads in order: 128 KiB by itself, which is a request of little. */
function setReadAhead(device: string, kib: number): void {
  try {
    writeFileSync(`/sys/class/bdi/${device}/read_ahead_kb`, `${kib}`);
  } catch {
    // It reads ahead less far.
  }
}
