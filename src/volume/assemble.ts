/** Putting a volume's layers together in one thread, from the bottom up. */
import { Dax } from "../dax/dax.ts";
import type { PageCache } from "../dax/page-cache.ts";
import { HealingDevice } from "../dax/poison.ts";
import { recoverRemovals } from "../dax/remove-pages.ts";
import { attachDevice, type Device } from "../device/index.ts";
import { createFailureEvents } from "../device/failure-events.ts";
import { createReleasedRanges } from "../device/released.ts";
import { recoverBreaks } from "../layout/break.ts";
import { createLeaseArea, recoverLeases } from "../layout/lease.ts";
import { recoverEntries } from "../mapping/entries.ts";
import { createMappingArea } from "../mapping/mapping.ts";
import { MetadataCache } from "../metadata/cache.ts";
import { createJournalArea, Journal } from "../metadata/journal.ts";
import { createTransactionArea, recoverTransactions } from "../metadata/transaction.ts";
import { Pages } from "../pages/pages.ts";
import { keepHeldClock } from "../pin/held-clock.ts";
import { recoverPins } from "../pin/pin.ts";
import { recoverLocks } from "../sync/lock.ts";
import { Region } from "../sync/region.ts";
import { createStatistics } from "../sync/statistics.ts";
import { Thread } from "../sync/thread.ts";
import { recoverWaits } from "../sync/waits.ts";
import { FaultPort, PopulatedPort } from "../window/fault-port.ts";
import { createWindowArea, Windows } from "../window/window.ts";
import { attachPageCache, createPageCache, makeCacheMemory } from "./access.ts";
import { VolumeCore } from "./core.ts";
import { createDriverArea, hasInline, makeDriver, makeLog } from "./drivers.ts";
import { createChangesArea } from "./changes.ts";
import type { VolumeHandle } from "./handle.ts";
import { createInodeArea } from "./inodes.ts";
import { evictorOf, pagerOf } from "./pager.ts";
import { SharedSegmentTable } from "./segments.ts";
import { createRecallsArea } from "./kernel-recalls.ts";
import { createVolumeArea } from "./state.ts";

export interface Assembled {
  readonly core: VolumeCore;
  readonly device: Device;
  readonly handle: VolumeHandle;
}

/**
 * A new region over an open device, and this thread's use of it. The caller closes the device when
 * this throws. Throws: ENOMEM, EINVAL for the region's size, CorruptionError.
 */
export function assembleMounted(
  device: Device,
  about: Omit<VolumeHandle, "region" | "device" | "port" | "cache">,
  regionBytes: number | undefined,
  cacheBytes: number,
  discards = false,
): Assembled {
  const region = Region.create(regionBytes);
  const thread = Thread.join(region);
  const { blockSize } = about.driver;
  const memory = makeCacheMemory(about.dax, blockSize, hasInline(about.driver), cacheBytes);
  try {
    createVolumeArea(thread);
    createChangesArea(thread);
    createRecallsArea(thread);
    createFailureEvents(thread);
    createReleasedRanges(thread);
    createInodeArea(thread);
    createMappingArea(thread);
    createTransactionArea(thread);
    createJournalArea(thread);
    createDriverArea(about.driver, thread, device.capacity, discards);
    createWindowArea(thread);
    createStatistics(thread);
    createLeaseArea(thread);
    device.useSegments(SharedSegmentTable.create(thread, device.segmentCount));
    const cached = memory === null ? null : createPageCache(thread, memory, device.capacity);
    const pages = Pages.create(thread, cached?.endByte ?? device.capacity);
    device.useState(thread);
    const cache = MetadataCache.create(thread, device, blockSize);
    const opened = FaultPort.open();
    const port = opened instanceof FaultPort ? opened : new PopulatedPort();
    const handle: VolumeHandle = {
      ...about,
      region: region.buffer,
      device: device.handle(),
      port: port instanceof FaultPort ? port.handle() : null,
      cache: memory?.handle() ?? null,
    };
    try {
      const parts = { thread, device, pages, cache, pageCache: cached, port };
      const core = assemble(parts, handle, true);
      core.holding = claimDevice(core);
      return { core, device, handle };
    } catch (error) {
      port.close();
      throw error;
    }
  } catch (error) {
    memory?.close();
    thread.leave();
    throw error;
  }
}

/**
 * The volume is the device's holder. Whoever reports a failure does what is to be done about it for the
 * whole volume; the mounter finishes what was only noted, or left by a thread that died.
 */
function claimDevice(core: VolumeCore): Disposable {
  const settle = (): void => {
    core.settle().catch((error: unknown) => process.emitWarning(error as Error));
  };
  const { device } = core.dax;
  return device.claim("a mounted volume", { onFailure: settle, onRemoval: settle });
}

/** This thread's use of a volume that another one mounted. Throws: EINVAL, ENFILE, ENOMEM. */
export function assembleAttached(handle: VolumeHandle): Assembled {
  const thread = Thread.join(Region.attach(handle.region));
  try {
    const device = attachDevice(handle.device, SharedSegmentTable.attach(thread));
    device.useState(thread);
    const pages = Pages.attach(thread);
    const cache = MetadataCache.attach(thread, device);
    const port = handle.port === null ? new PopulatedPort() : FaultPort.attach(handle.port);
    const pageCache =
      handle.cache === null ? null : attachPageCache(thread, handle.cache, device.capacity);
    const parts = { thread, device, pages, cache, pageCache, port };
    return { core: assemble(parts, handle, false), device, handle };
  } catch (error) {
    thread.leave();
    throw error;
  }
}

interface Parts {
  readonly thread: Thread;
  readonly device: Device;
  readonly pages: Pages;
  readonly cache: MetadataCache;
  readonly pageCache: PageCache | null;
  readonly port: FaultPort | PopulatedPort;
}

function assemble(parts: Parts, handle: VolumeHandle, create: boolean): VolumeCore {
  const { thread, device, pages, cache, pageCache, port } = parts;
  const windows = new Windows(thread, port);
  const healing = new HealingDevice(device, pages);
  const log = handle.readOnly ? null : makeLog(handle.driver, device);
  if (log !== null) cache.journal = new Journal(cache, log);
  const driver = makeDriver(handle.driver, thread, device, healing, cache, create);
  const { readOnly, protect } = handle;
  const dax = new Dax({
    thread,
    device,
    cache,
    pages,
    windows,
    driver,
    pageCache,
    readOnly,
    protect,
  });
  const isFaulting = port instanceof FaultPort;
  const core = new VolumeCore(dax, driver, handle.dax, {
    pager: isFaulting ? pagerOf(thread, port, handle) : null,
    evictor: isFaulting && pageCache !== null ? evictorOf(thread, pageCache, handle) : null,
  });
  keepHeldClock(thread);
  // What a dead thread held is given back from the last of these to the first. Its references go when
  // all else is: until then nobody takes the files for unused, or for nameless by what is undone.
  core.inodes.recoverInodes();
  recoverWaits(thread);
  recoverLocks(thread);
  recoverTransactions(cache);
  pageCache?.recoverFilling(pages);
  recoverEntries(thread, pages);
  recoverPins(thread, pages);
  recoverBreaks(thread);
  recoverRemovals(dax);
  recoverLeases(thread);
  pages.deviceState.recover();
  pages.types.recover();
  return core;
}
