/** What the thread that serves a mount is given, and what it tells. */
import type { VolumeHandle } from "../volume/handle.ts";
import type { ServeOptions } from "./serving.ts";

export interface WorkerTask {
  readonly handle: VolumeHandle;
  /** Of /dev/fuse. */
  readonly fd: number;
  readonly options: ServeOptions;
}

export type WorkerMessage =
  | { readonly what: "ready" }
  | { readonly what: "trouble"; readonly operation: string; readonly text: string };

/** What the thread is to do that makes one slow call; it answers with the error number, or 0. */
export type SlowCall =
  | { readonly what: "sync"; readonly directory: string }
  | { readonly what: "unmount"; readonly directory: string; readonly flags: number };
