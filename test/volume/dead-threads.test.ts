// What a thread leaves in the inode table when it dies in the middle of an operation. (The threads are
// all this one: which of them runs when is the test's to say.)

import { afterEach, describe, expect, test, vi } from "vitest";
import type { Ino } from "../../src/base/quantities.ts";
import { timeNow } from "../../src/dax/dax.ts";
import { pinRange } from "../../src/dax/pins.ts";
import { beginTransaction } from "../../src/metadata/transaction.ts";
import { store } from "../../src/sync/atomics.ts";
import { runBlocking } from "../../src/sync/runners.ts";
import { type Sleeps, Task } from "../../src/sync/sleep.ts";
import { OWNER_DIED, Slot, type Thread } from "../../src/sync/thread.ts";
import { assembleAttached } from "../../src/volume/assemble.ts";
import type { VolumeCore } from "../../src/volume/core.ts";
import { lockInodes } from "../../src/volume/paths.ts";
import { volumeKinds } from "./volumes.ts";

/** As the kernel does when a thread ends. */
function die({ words, base }: Thread): void {
  store(words, base + Slot.liveness, OWNER_DIED);
}

/** Pins the beginning of a file. */
function pinFile(core: VolumeCore, ino: number): void {
  runBlocking(core.thread, function* (task) {
    const { mapping } = yield* core.inodes.acquire(ino as Ino);
    yield* pinRange(task, core.dax, mapping, 0, 4, true);
  });
}

/** Unlinks a file of the root directory, as far as the commit. */
function unlinkUncommitted(core: VolumeCore, ino: number, name: string): void {
  runBlocking(core.thread, function* (task) {
    const directory = yield* core.inodes.acquire(core.driver.rootIno);
    const inode = yield* core.inodes.acquire(ino as Ino);
    yield* lockInodes(task, [directory, inode]);
    const transaction = yield* beginTransaction(task, core.cache);
    core.driver.unlink(transaction, directory.ino, Buffer.from(name), timeNow());
    inode.setNameless(transaction, true);
  });
}

afterEach(() => vi.restoreAllMocks());

describe.each(volumeKinds.filter(({ mappable }) => mappable))("$name", (kind) => {
  // Its references went first. So the file was nobody's and had no name, while the transaction was still
  // to be undone, and whoever ended an operation just then went on to free it.
  test("a file stays whose last user dies in an unlink: its references go when all else is undone", () => {
    using made = kind.make();
    made.volume.writeFileSync("/file", "kept");
    made.volume.writeFileSync("/pinned", "kept");
    const inoOf = (path: string): number => made.volume.statSync(path).ino;
    const handle = made.volume.share();
    const [doomed, finder, other] = [1, 2, 3].map(() => assembleAttached(handle).core);
    pinFile(doomed!, inoOf("/pinned"));
    unlinkUncommitted(doomed!, inoOf("/file"), "file");
    die(doomed!.thread);

    // While one thread gives back what the dead one held, another one frees what nobody uses.
    const { pages } = finder!.dax;
    const release = pages.releaseNoting.bind(pages);
    let settling: Sleeps<void> | null = null;
    vi.spyOn(pages, "releaseNoting").mockImplementation((...pin) => {
      settling = other!.inodes.settle(new Task(other!.thread, undefined));
      settling.next();
      release(...pin);
    });
    expect(finder!.thread.reap()).toBe(1);
    expect(settling).not.toBeNull();
    while (!settling!.next().done);

    expect(made.volume.readFileSync("/file", "utf8")).toBe("kept");
    for (const { thread } of [finder!, other!]) thread.leave();
    expect(made.closeAndCheck()).toBe("");
  });
});
