/** `holdfast mount` and `holdfast umount`. docs/mount.md says what is promised. */
import { spawn } from "node:child_process";
import { chmodSync, closeSync, openSync, realpathSync, statSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import type { Readable } from "node:stream";
import { mount } from "../../index.ts";
import {
  type KernelMount,
  type MountEntry,
  mountInKernel,
  mountTable,
  remountFuse,
  unmountFuse,
} from "../../fuse/index.ts";
import type { Terminal } from "../terminal.ts";
import { type CommandBody, EXIT_FOUND, EXIT_OK } from "../usage.ts";
import {
  chooseChanges,
  MOUNT_SPEC,
  type MountCommandOptions,
  parseMountOptions,
  parseUmountOptions,
  UMOUNT_SPEC,
} from "./options.ts";
import { Listener, Presence } from "./presence.ts";

/** In the environment of the process that serves: the descriptor by which it tells that it does. */
const READY_VARIABLE = "HOLDFAST_MOUNT_READY_FD";
/** What it tells there; anything else is why it does not. */
const READY = "ready";

/** Of address space: programs use more files at a time than one program does. */
const REGION_BYTES = 2 ** 32;

async function runMount(args: readonly string[], terminal: Terminal): Promise<number> {
  const options = parseMountOptions(args);
  const readyFd = process.env[READY_VARIABLE];
  delete process.env[READY_VARIABLE];
  if (options.remount !== null) {
    remount(options.directory, options.remount, terminal);
    return EXIT_OK;
  }
  if (readyFd !== undefined) return await serveInBackground(options, Number(readyFd), terminal);
  if (!options.foreground) return await startInBackground(args, options, terminal);
  return await serve(options, terminal, () => {
    terminal.note(`holdfast: ${options.image} is mounted on ${options.directory}; Ctrl-C unmounts`);
  });
}

/** Starts a process that serves, and returns when it does, or does not. */
async function startInBackground(
  args: readonly string[],
  { log }: MountCommandOptions,
  terminal: Terminal,
): Promise<number> {
  const output = openSync(log ?? "/dev/null", "a");
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, "mount", ...args], {
    detached: true,
    stdio: ["ignore", output, output, "pipe"],
    env: { ...process.env, [READY_VARIABLE]: "3" },
  });
  closeSync(output);
  const pipe = child.stdio[3] as Readable;
  let said = "";
  pipe.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  await new Promise<void>((done, fail) => {
    child.on("error", fail);
    pipe.on("close", done);
  });
  child.unref();
  if (said === READY) return EXIT_OK;
  terminal.note(`${terminal.styleNote("red", "holdfast:")} ${said || "the server has died"}`);
  return EXIT_FOUND;
}

async function serveInBackground(
  options: MountCommandOptions,
  readyFd: number,
  terminal: Terminal,
): Promise<number> {
  let told = false;
  const tell = (text: string): void => {
    if (!told) {
      writeSync(readyFd, text);
      closeSync(readyFd);
    }
    told = true;
  };
  try {
    return await serve(options, terminal, () => tell(READY));
  } catch (error) {
    tell((error as Error).message.replace(/\s*\n\s*/g, " "));
    throw error;
  }
}

/** Mounts, serves until that ends, and unmounts. */
async function serve(
  { image, directory, volume: volumeOptions, kernel }: MountCommandOptions,
  terminal: Terminal,
  onReady: () => void,
): Promise<number> {
  const source = realpathSync(image);
  const place = realpathSync(directory);
  const volume = await mount(source, { ...volumeOptions, regionBytes: REGION_BYTES });
  if (volume.readOnly && volumeOptions.readOnly !== true) {
    terminal.note(`holdfast: mounted read-only: ${volume.readOnlyReason}`);
  }
  let presence: Presence | null = null;
  let error: string | null = "";
  try {
    const kernelMount = await mountInKernel(volume, place, {
      source,
      ...kernel,
      onTrouble: ({ operation, text }) => terminal.note(`holdfast: ${operation}: ${text}`),
    });
    presence = new Presence(kernelMount.device);
    // What was the working directory may be unmounted itself.
    process.chdir("/");
    onReady();
    await untilEnded(kernelMount, terminal);
    await volume.close();
    error = null;
  } catch (caught) {
    error = (caught as Error).message;
    throw caught;
  } finally {
    if (!volume.closed) await volume.close().catch(() => {});
    presence?.end({ error });
  }
  return EXIT_OK;
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** A signal unmounts. Programs that use the mount then are told so by errors: their server ends. */
async function untilEnded(kernelMount: KernelMount, terminal: Terminal): Promise<void> {
  const keepAlive = setInterval(() => {}, 2 ** 30);
  const end = (): void => {
    kernelMount.unmount().catch(async (error) => {
      terminal.note(`holdfast: ${(error as Error).message}; ending what uses it`);
      await kernelMount.unmount({ force: true }).catch(() => {});
    });
  };
  for (const signal of SIGNALS) process.on(signal, end);
  try {
    await kernelMount.ended;
  } finally {
    for (const signal of SIGNALS) process.off(signal, end);
    clearInterval(keepAlive);
  }
}

/** What is mounted there; also where its server has died, so that the directory itself answers nothing. */
function findMount(directory: string): MountEntry {
  const table = mountTable();
  let place = resolve(directory);
  if (!table.some((entry) => entry.directory === place)) place = realpathSync(directory);
  const entry = table.findLast((each) => each.directory === place);
  if (entry === undefined) throw new Error(`nothing is mounted on '${directory}'`);
  if (entry.type === "fuse" || entry.type.startsWith("fuse.")) return entry;
  throw new Error(`what is mounted on '${directory}' is of type ${entry.type}; use umount`);
}

function asBusy(error: unknown, directory: string): unknown {
  const { code } = error as { code?: unknown };
  if (code !== "EBUSY") return error;
  return new Error(`'${directory}' is in use; end that first, or give --lazy or --force`);
}

/** The kernel does not know of a server that it only reads: such a mount is made read-only again. */
function assertServedToWrite(entry: MountEntry): void {
  const { directory } = entry;
  try {
    chmodSync(directory, statSync(directory).mode & 0o7777);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "EROFS") throw error;
    remountFuse(entry, ["ro"]);
    throw new Error(`'${directory}' is served to be read only; unmount it, and mount it anew`);
  }
}

/** Changes what is mounted there by the words of -o. */
function remount(directory: string, words: readonly string[], terminal: Terminal): void {
  const entry = findMount(directory);
  const { changes, kept } = chooseChanges(words, entry.options);
  try {
    remountFuse(entry, changes);
  } catch (error) {
    if ((error as { code?: unknown }).code !== "EBUSY") throw error;
    throw new Error(`files in '${directory}' are open to be written to; close them first`);
  }
  const isWritten = changes.lastIndexOf("rw") > changes.lastIndexOf("ro");
  if (isWritten && entry.options.includes("ro")) assertServedToWrite(entry);
  if (kept.length > 0) terminal.note(`holdfast: remount does not change ${kept.join(", ")}`);
}

async function runUmount(args: readonly string[], terminal: Terminal): Promise<number> {
  const { directory, lazy, force } = parseUmountOptions(args);
  const entry = findMount(directory);
  using listener = await Listener.begin(entry.device);
  await unmountFuse(entry, "now").catch(async (error) => {
    if (!lazy && !force) throw asBusy(error, directory);
    await unmountFuse(entry, force ? "force" : "lazy");
  });
  if (lazy && !force) return EXIT_OK;
  const told = await listener.ending;
  if (told === null || told.error === null) return EXIT_OK;
  terminal.note(`${terminal.styleNote("red", "holdfast:")} ${told.error}`);
  return EXIT_FOUND;
}

export const mountCommand: CommandBody = { spec: MOUNT_SPEC, run: runMount };
export const umountCommand: CommandBody = { spec: UMOUNT_SPEC, run: runUmount };
