/** What the threads that serve a mount are given, and what they tell. */
import type { VolumeHandle } from "../volume/handle.ts";
import type { ServeOptions } from "./serving.ts";
import type { SharedMountHandle } from "./shared-mount.ts";

export interface WorkerTask {
  readonly handle: VolumeHandle;
  readonly options: ServeOptions;
  /**
   * Which of the mount's threads it is; `RECALLER`: that one. The first begins at once, with this descriptor of
   * /dev/fuse; others are told to.
   */
  readonly index: number;
  readonly fd: number | null;
}

/** To those that are not the first, when the kernel was answered; null: the mount has not come to be. */
export type StartMessage = { readonly mount: SharedMountHandle; readonly fd: number } | null;

export type WorkerMessage =
  /** Of the first: the kernel was answered. Of others: they serve. */
  | { readonly what: "ready"; readonly mount: SharedMountHandle }
  | { readonly what: "trouble"; readonly operation: string; readonly text: string };

/** What the thread is to do that makes one slow call; it answers with the error number, or 0. */
export type SlowCall =
  | { readonly what: "sync"; readonly directory: string }
  | { readonly what: "unmount"; readonly directory: string; readonly flags: number };
