/**
 * The workers behind windows: the pager, started when the volume is shared or a file is mapped for the first
 * time, and the evicting thread, which the pager starts when a touch first finds the page cache full. While
 * that one runs the pager does, since who revokes waits for its reading.
 */
import type { PageCache } from "../dax/page-cache.ts";
import { wakeAll } from "../sync/atomics.ts";
import type { Thread } from "../sync/thread.ts";
import type { FaultPort } from "../window/fault-port.ts";
import type { VolumeHandle } from "./handle.ts";
import { Service, type ServiceKind } from "./service.ts";
import { VolumeWord } from "./state.ts";

export const PAGER: ServiceKind = {
  name: "pager",
  module: "volume/pager-worker.js",
  word: VolumeWord.pager,
};

export const EVICTOR: ServiceKind = {
  name: "evicting thread",
  module: "volume/evictor-worker.js",
  word: VolumeWord.evictor,
};

export function pagerOf(thread: Thread, port: FaultPort, handle: VolumeHandle): Service {
  return new Service(thread, PAGER, () => port.kick(), handle);
}

export function evictorOf(thread: Thread, cache: PageCache, handle: VolumeHandle): Service {
  return new Service(thread, EVICTOR, () => wakeAll(thread.words, cache.wantedWord), handle);
}
