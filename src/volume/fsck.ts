/** Checking a volume that is not mounted: reads all of its metadata, and changes nothing. */
import { readSync } from "node:fs";
import { setImmediate } from "node:timers/promises";
import { AbortError, systemError, withContext } from "../base/errors.ts";
import { type Device, openDevice } from "../device/index.ts";
import { type CheckResult, checkVolume, type FsckProgress } from "../drivers/ext/index.ts";
import { checkInteger, checkPath, pathText, wrongType } from "./arguments.ts";

export interface FsckOptions {
  /** Ends the check with an AbortError. */
  readonly signal?: AbortSignal;
  /** Told now and then where the check is: some ten times a second, and at the start of each pass. */
  readonly onProgress?: (progress: FsckProgress) => void;
  /** Findings to keep in the report; of more only the number is told. Default 10,000. */
  readonly findingsMax?: number;
  /**
   * A journal that waits to be replayed is, in memory: the volume is checked as the next mount finds it. False: the
   * journal is passed over. Default true.
   */
  readonly replay?: boolean;
}

/** What is wrong with a volume, as data. `docs/fsck.md` says what is looked at. */
export interface FsckReport extends CheckResult {
  readonly path: string;
  readonly elapsedMs: number;
}

const FINDINGS_MAX = 10_000;
const PROGRESS_MS = 100;
/** How long the event loop waits for the check, at most a step longer. */
const TURN_MS = 10;

interface Run {
  readonly path: string;
  readonly device: Device;
  readonly steps: Generator<FsckProgress, CheckResult, void>;
  readonly options: FsckOptions;
  readonly startMs: number;
  toldMs: number;
  toldPass: string;
}

function begin(path: string | Uint8Array, options: FsckOptions): Run {
  checkPath("path", path);
  if (typeof options !== "object" || options === null) {
    throw wrongType("options", "an object", options);
  }
  const findingsMax = options.findingsMax ?? FINDINGS_MAX;
  checkInteger("options.findingsMax", findingsMax);
  if (options.onProgress !== undefined && typeof options.onProgress !== "function") {
    throw wrongType("options.onProgress", "a function", options.onProgress);
  }
  throwIfAborted(options);
  const device = openDevice(pathText(path), { readOnly: true });
  const checked = {
    size: device.exactSize,
    copyOut: (at: number, target: Uint8Array) => readFully(device, at, target),
  };
  const steps = checkVolume(checked, { findingsMax, replay: options.replay ?? true });
  const startMs = performance.now();
  return { path: pathText(path), device, steps, options, startMs, toldMs: 0, toldPass: "" };
}

/** By system calls, not through the mapping: there a medium that fails would end the process. */
function readFully(device: Device, at: number, target: Uint8Array): void {
  for (let done = 0; done < target.length; ) {
    const count = readSync(device.fd, target, done, target.length - done, at + done);
    if (count === 0) throw systemError(5, "read", { path: device.path }); // it was cut short
    done += count;
  }
}

function throwIfAborted({ signal }: FsckOptions): void {
  if (signal?.aborted) throw new AbortError(undefined, signal.reason);
}

/** Tells of progress, if it is time. */
function tell(run: Run, progress: FsckProgress): void {
  const now = performance.now();
  if (progress.pass === run.toldPass && now - run.toldMs < PROGRESS_MS) return;
  run.toldMs = now;
  run.toldPass = progress.pass;
  run.options.onProgress?.(progress);
}

function reportOf({ path, startMs }: Run, result: CheckResult): FsckReport {
  return { path, ...result, elapsedMs: performance.now() - startMs };
}

/**
 * Checks the ext2, ext3 or ext4 volume on an image file or block device, all of its metadata. What is wrong is
 * told in the report; this throws only where the check cannot be done.
 * Throws: EBUSY naming who has the image mounted, ENOENT, EACCES, EINVAL for what is no device; EIO where the
 * first bytes cannot be read; AbortError.
 */
export async function fsck(
  path: string | Uint8Array,
  options: FsckOptions = {},
): Promise<FsckReport> {
  try {
    const run = begin(path, options);
    try {
      let turnEnds = performance.now() + TURN_MS;
      for (;;) {
        const step = run.steps.next();
        if (step.done) return reportOf(run, step.value);
        tell(run, step.value);
        throwIfAborted(options);
        if (performance.now() < turnEnds) continue;
        await setImmediate();
        throwIfAborted(options);
        turnEnds = performance.now() + TURN_MS;
      }
    } finally {
      run.device.close();
    }
  } catch (error) {
    throw withContext(error, { syscall: "fsck", path: pathText(path) });
  }
}

/** As `fsck`, blocking. */
export function fsckSync(path: string | Uint8Array, options: FsckOptions = {}): FsckReport {
  try {
    const run = begin(path, options);
    try {
      for (;;) {
        const step = run.steps.next();
        if (step.done) return reportOf(run, step.value);
        tell(run, step.value);
        throwIfAborted(options);
      }
    } finally {
      run.device.close();
    }
  } catch (error) {
    throw withContext(error, { syscall: "fsck", path: pathText(path) });
  }
}
