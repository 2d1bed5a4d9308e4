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
