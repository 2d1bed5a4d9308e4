// A ram filesystem on a memory device, put together by hand from the layers below volume: for tests
// of those layers. One file, or several, each with a mapping.

import type { Ino } from "../../src/base/quantities.ts";
import { Dax, timeNow } from "../../src/dax/dax.ts";
import { memoryDevice } from "../../src/device/index.ts";
import { RamDriver } from "../../src/drivers/ram/index.ts";
import { recoverBreaks } from "../../src/layout/break.ts";
import { recoverEntries } from "../../src/mapping/entries.ts";
import {
  createMappingArea,
  initMapping,
  type Mapping,
  mappingSlab,
} from "../../src/mapping/mapping.ts";
import { MetadataCache } from "../../src/metadata/cache.ts";
import {
  beginTransaction,
  createTransactionArea,
  recoverTransactions,
} from "../../src/metadata/transaction.ts";
import { Pages } from "../../src/pages/pages.ts";
import { recoverPins } from "../../src/pin/pin.ts";
import { recoverLocks } from "../../src/sync/lock.ts";
import { Region } from "../../src/sync/region.ts";
import { allocateZeroed } from "../../src/sync/slab.ts";
import { runBlocking } from "../../src/sync/runners.ts";
import type { Sleeps, SleepOptions, Task } from "../../src/sync/sleep.ts";
import { createStatistics } from "../../src/sync/statistics.ts";
import { Thread } from "../../src/sync/thread.ts";
import { PopulatedPort } from "../../src/window/fault-port.ts";
import { createWindowArea, Windows } from "../../src/window/window.ts";

export interface Core {
  readonly region: Region;
  readonly thread: Thread;
  readonly dax: Dax;
  readonly driver: RamDriver;
  run<T>(operation: (task: Task) => Sleeps<T>, options?: SleepOptions): T;
  makeFile(name: string): Mapping;
}

/** A ram filesystem of `bytes`, with this thread joined. */
export function ramCore(bytes: number, regionBytes = 2 ** 28): Core {
  const region = Region.create(regionBytes);
  const thread = Thread.join(region);
  const device = memoryDevice(bytes);
  createTransactionArea(thread);
  createMappingArea(thread);
  createWindowArea(thread);
  createStatistics(thread);
  const cache = MetadataCache.create(thread, device, 4096);
  const pages = Pages.create(thread, bytes);
  recoverLocks(thread);
  recoverEntries(thread, pages);
  recoverPins(thread, pages);
  recoverBreaks(thread);
  recoverTransactions(cache);
  const driver = RamDriver.create(thread, device, bytes, timeNow());
  const windows = new Windows(thread, new PopulatedPort());
  const access = { pageCache: null, readOnly: false, protect: true };
  const dax = new Dax({ thread, device, cache, pages, windows, driver, ...access });
  const run = <T>(operation: (task: Task) => Sleeps<T>, options?: SleepOptions): T =>
    runBlocking(thread, operation, options);
  return {
    region,
    thread,
    dax,
    driver,
    run,
    makeFile(name) {
      const ino = run(function* (task) {
        using transaction = yield* beginTransaction(task, cache);
        const made = driver.create(transaction, driver.rootIno, new TextEncoder().encode(name), {
          type: "file",
          mode: 0o644,
          uid: 0,
          gid: 0,
          time: timeNow(),
        });
        transaction.commit();
        return made as Ino;
      });
      const mapping = allocateZeroed(thread, mappingSlab(thread));
      initMapping(thread, mapping, ino, 0, driver.readInode(ino).generation);
      return mapping;
    },
  };
}
