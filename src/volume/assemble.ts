/** Putting a volume's layers together in one thread, from the bottom up. */
import { Dax } from "../dax/dax.ts";
import { HealingDevice } from "../dax/poison.ts";
import { recoverRemovals } from "../dax/remove-pages.ts";
import { attachDevice, type Device } from "../device/index.ts";
import { createFailureEvents } from "../device/failure-events.ts";
import { recoverBreaks } from "../layout/break.ts";
import { createLeaseArea, recoverLeases } from "../layout/lease.ts";
import { recoverEntries } from "../mapping/entries.ts";
import { createMappingArea } from "../mapping/mapping.ts";
import { MetadataCache } from "../metadata/cache.ts";
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
import { VolumeCore } from "./core.ts";
import { makeDriver } from "./drivers.ts";
import type { VolumeHandle } from "./handle.ts";
import { createInodeArea } from "./inodes.ts";
import { Pager } from "./pager.ts";
import { SharedSegmentTable } from "./segments.ts";
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
  about: Omit<VolumeHandle, "region" | "device" | "port">,
  regionBytes: number | undefined,
): Assembled {
  const region = Region.create(regionBytes);
  const thread = Thread.join(region);
  try {
    createVolumeArea(thread);
    createFailureEvents(thread);
    createInodeArea(thread);
    createMappingArea(thread);
    createTransactionArea(thread);
    createWindowArea(thread);
    createStatistics(thread);
    createLeaseArea(thread);
    device.useSegments(SharedSegmentTable.create(thread, device.segmentCount));
    const pages = Pages.create(thread, device.size);
    device.useState(thread);
    const cache = MetadataCache.create(thread, device, about.driver.blockSize);
    const port = openPort(about.driver.blockSize);
    const handle: VolumeHandle = {
      ...about,
      region: region.buffer,
      device: device.handle(),
      port: port instanceof FaultPort ? port.handle() : null,
    };
    try {
      const core = assemble(thread, device, pages, cache, port, handle, true);
      core.holding = claimDevice(core);
      return { core, device, handle };
    } catch (error) {
      port.close();
      throw error;
    }
  } catch (error) {
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
    return { core: assemble(thread, device, pages, cache, port, handle, false), device, handle };
  } catch (error) {
    thread.leave();
    throw error;
  }
}

/** Blocks smaller than a page are never mapped. */
function openPort(blockSize: number): FaultPort | PopulatedPort {
  if (blockSize < 4096) return new PopulatedPort();
  const port = FaultPort.open();
  return port instanceof FaultPort ? port : new PopulatedPort();
}

function assemble(
  thread: Thread,
  device: Device,
  pages: Pages,
  cache: MetadataCache,
  port: FaultPort | PopulatedPort,
  handle: VolumeHandle,
  create: boolean,
): VolumeCore {
  const windows = new Windows(thread, port);
  const healing = new HealingDevice(device, pages);
  const driver = makeDriver(handle.driver, thread, device, healing, cache, create);
  const { readOnly, protect } = handle;
  const dax = new Dax({ thread, device, cache, pages, windows, driver, readOnly, protect });
  const pager = port instanceof FaultPort ? new Pager(thread, port, () => handle) : null;
  const core = new VolumeCore(dax, driver, pager);
  keepHeldClock(thread);
  // What a dead thread held is given back from the last of these to the first. Its references go when
  // all else is: until then nobody takes the files for unused, or for nameless by what is undone.
  core.inodes.recoverInodes();
  recoverWaits(thread);
  recoverLocks(thread);
  recoverTransactions(cache);
  recoverEntries(thread, pages);
  recoverPins(thread, pages);
  recoverBreaks(thread);
  recoverRemovals(dax);
  recoverLeases(thread);
  pages.deviceState.recover();
  pages.types.recover();
  return core;
}
