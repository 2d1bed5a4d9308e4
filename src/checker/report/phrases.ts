/**
 * What the functions of the core do, in words. One table, by file and function; methods as
 * "Class.method". It names what a reader of a schedule wants to hear of, so it may lack functions:
 * what it lacks is told as `name()`.
 *
 * In a phrase, `{lock}` stands for the lock that the step's word belongs to and `{word}` for the word.
 */
import type { Site } from "./story.ts";

/**
 * "does": an activity; the outermost one in a stack is told. "around": runs activities, and is told
 * where none of them runs. "inside": a part of whatever calls it, told where nothing else is; what it
 * changes is bookkeeping. "takes" and "queues": an activity that ends with the lock, or without it.
 */
export type Role = "does" | "around" | "inside" | "takes" | "queues";

export interface Phrase {
  readonly role: Role;
  readonly text: string;
  /** Told instead when the function has ended and changed nothing; null for the same. */
  readonly unchanged: string | null;
}

function does(text: string, unchanged: string | null = null): Phrase {
  return { role: "does", text, unchanged };
}

function around(text: string): Phrase {
  return { role: "around", text, unchanged: null };
}

function inside(text: string, unchanged: string | null = null): Phrase {
  return { role: "inside", text, unchanged };
}

function takes(text: string, unchanged: string): Phrase {
  return { role: "takes", text, unchanged };
}

const queues: Phrase = { role: "queues", text: "queues for {lock}", unchanged: null };

const SYNC: Readonly<Record<string, Readonly<Record<string, Phrase>>>> = {
  "sync/guard.ts": {
    enterGuard: inside("takes {word}", "finds {word} taken"),
    enterContendedGuard: inside("takes {word}", "finds {word} taken"),
    leaveGuard: inside("drops {word}"),
    enterEpoch: inside("enters an epoch"),
    leaveEpoch: inside("leaves its epoch"),
    synchronize: does("waits one epoch"),
  },
  "sync/lock.ts": {
    lockShared: around("takes {lock}, shared"),
    lockExclusive: around("takes {lock}"),
    tryLockShared: around("takes {lock}, shared"),
    tryLockExclusive: around("takes {lock}"),
    tryShared: takes("takes {lock}, shared", "finds {lock} taken"),
    tryExclusive: takes("takes {lock}", "finds {lock} taken"),
    waitShared: queues,
    waitExclusive: queues,
    unlockShared: takes("drops {lock}, shared", "drops {lock}, shared"),
    unlockExclusive: takes("drops {lock}", "drops {lock}"),
    lockMutex: takes("takes {word}", "finds {word} taken"),
    unlockMutex: takes("drops {word}", "drops {word}"),
    breakMutex: does("takes {word} from its dead holder"),
    recoverLocks: around("gives back the locks of a dead thread"),
    recount: inside("counts a lock's holders again"),
    enter: inside("takes a lock's guard"),
    leave: inside("drops a lock's guard"),
    wake: inside("wakes a lock's waiters"),
    admitsShared: inside("looks whether a lock is free"),
    admitsExclusive: inside("looks whether a lock is free"),
    leaveSharedQueue: inside("leaves a lock's queue"),
    describe: inside("looks who holds a lock"),
    assertRank: inside("checks the lock order"),
    "HeldLock.release": inside("drops a lock"),
    "HeldLock.dispose": inside("drops a lock"),
  },
  "sync/thread.ts": {
    "Thread.join": does("joins the volume"),
    "Thread.leave": does("leaves the volume"),
    "Thread.reap": around("looks for dead threads"),
    "Thread.isAlive": inside("looks whether a thread lives"),
    "Thread.holderIn": inside("looks who is in a slot"),
    "Thread.describe": inside("looks up a thread"),
    "Thread.onThreadDeath": inside("registers a recovery"),
  },
  "sync/slab.ts": {
    allocateObject: inside("takes a record"),
    allocateZeroed: inside("takes a record"),
    freeObject: inside("gives a record back"),
  },
  "sync/table.ts": {
    "ThreadTable.take": inside("takes a record"),
    "ThreadTable.give": inside("gives a record back"),
    "ThreadTable.giveOwn": inside("gives a record back"),
    forEachRecord: inside("goes through a thread's records"),
  },
};

const PAGES: Readonly<Record<string, Readonly<Record<string, Phrase>>>> = {
  "pages/pages.ts": {
    "Pages.associate": does("gives the page its owner"),
    "Pages.disassociate": does("takes the owner from the page"),
    "Pages.share": does("counts one more entry of the shared page"),
    "Pages.leave": does("counts one entry less of the shared page"),
    "Pages.sharers": does("reads how many entries name the page"),
    "Pages.takeBack": does("takes a dead thread's page back"),
    "Pages.releaseNoting": does("gives a pin back"),
    "Pages.wakeWaiters": does("clears WAITED"),
    "Pages.prepareWait": does("sets WAITED", "looks whether the page is busy"),
    "Pages.isFree": does("looks whether the blocks' pages are free"),
    "Pages.totalPins": does("counts all pins"),
    "Pages.pinCount": does("reads the pin count"),
    "Pages.owner": does("reads the page's owner"),
    "Pages.index": does("reads the page's index"),
    "Pages.find": does("looks up the page's record"),
    "Pages.isHuge": inside("looks whether the page is huge"),
    "Pages.devicePage": inside("looks up the device page"),
    "Pages.makeChunk": inside("makes page records"),
    "Pages.recountChunk": inside("counts pages in use"),
    "Pages.freeChunk": inside("frees page records"),
  },
  "mapping/tree.ts": {
    makeSlot: does("makes room in the entry tree"),
    setMark: does("marks the entry"),
    clearMark: does("clears the entry's mark"),
    removeEntries: does("removes the entries"),
    dropZeroEntries: does("removes the zero entries"),
    storeHuge: inside("writes the entry of 2 MiB"),
    findSlot: inside("looks up the entry"),
    entryAt: inside("looks up the entry"),
    isMarked: inside("looks at the entry's mark"),
    isMarkedRelaxed: inside("looks at the entry's mark"),
    nextMarked: inside("looks for a marked entry"),
    nextMarkedBelow: inside("looks for a marked entry"),
    forEachEntry: inside("goes through the entries"),
    nextPresent: inside("looks for an entry"),
    setBit: inside("sets a mark"),
    clearBit: inside("clears a mark"),
  },
  "mapping/entries.ts": {
    lockEntry: does("locks the entry"),
    unlockEntry: does("unlocks the entry"),
    publishPage: does("publishes the page"),
    publishZero: does("publishes a zero page"),
    publishAround: does("publishes pages"),
    recoverEntries: around("gives back the entries of a dead thread"),
    recoverRun: does("gives back the entries of a dead thread"),
  },
  "mapping/mapping.ts": {
    sizeOf: does("reads the size"),
    initMapping: does("sets up the inode's record"),
    noteWritten: does("notes pages as written"),
    takeWritten: does("takes the range that was written"),
    inoOf: inside("reads the inode number"),
    mappingSlab: inside("looks up the records"),
    nodeSlab: inside("looks up the tree's nodes"),
  },
  "pin/pin.ts": {
    tryPin: around("pins without a lock"),
    takeRecord: inside("takes a record"),
    countInEpoch: does("pins without a lock", "cannot pin without a lock"),
    pinSlow: around("pins under the map lock"),
    countUnderLock: does("pins under the map lock"),
    letBreakPass: does("looks whether a break insists"),
    releasePin: does("gives its pin back", "has no pin to give back"),
    uncount: does("takes back what was counted"),
    pinnedPage: does("looks up its pinned page"),
    pagesOfPin: does("looks up its pinned pages"),
    stillOwned: does("looks whether its pages are still the file's"),
    recoverPins: around("gives back the pins of a dead thread"),
  },
  "pin/record.ts": {
    heldPins: does("looks who holds the pins"),
    readPin: inside("reads a pin's record"),
    describePins: inside("words who holds the pins"),
  },
  "layout/break.ts": {
    withBrokenLayouts: around("breaks the layout"),
    tryWithBrokenPages: around("breaks the pages"),
    wholeFolios: does("looks for folios at the range's ends"),
    announce: around("announces the break"),
    withdraw: does("withdraws the break"),
    "AllHeld.dispose": around("gives the locks back"),
    "AllHeld.release": around("gives the locks back"),
    recoverBreaks: around("withdraws the break of a dead thread"),
    findBusy: does("looks for a busy page"),
    waitForPage: does("sets WAITED", "looks whether the page is busy"),
    count: inside("counts"),
    "Patience.press": does("lets no new pins in", "is patient"),
    "Patience.relent": does("lets new pins in", "is patient"),
  },
  "layout/lease.ts": {
    enter: inside("takes {word}"),
    leave: inside("drops {word}"),
    enqueue: does("puts its request into the queue"),
    unlink: does("takes it out of the queue, and tells who waits"),
    returnLease: around("returns the lease, or gives its request up"),
    recoverLeases: around("takes away the leases of a dead thread"),
    settle: inside("lets the lease expire", "looks whether the lease is in time"),
    recall: inside("recalls the lease"),
    recallFrom: does("recalls what is in the way", "looks what is in the way"),
    overlaps: inside("looks where the lease is"),
    obstacleAt: inside("notes what is in the way"),
    tryGrant: does("is granted the lease", "is not granted the lease"),
    "LeaseBreak.recall": around("looks for leases"),
    "LeaseBreak.recallAhead": around("looks for leases"),
    "LeaseBreak.queue": around("takes its place in the queue"),
    "LeaseBreak.dispose": around("gives up its place in the queue"),
    stateOfLease: does("lets its lease expire", "looks at its lease"),
    reasonOfRecall: does("looks why its lease was recalled"),
    graceLeft: inside("looks how long the lease has"),
    tiePin: does("ties its pin to the lease"),
    untiePin: does("unties its pin"),
  },
  // What scenarios do around the core: their truth, kept in words of its own.
  "checker/world/bare.ts": {
    "BareFile.io": does("begins its I/O"),
    "BareFile.endIo": around("ends its I/O"),
    "BareFile.show": around("shows the page"),
  },
  "checker/world/volume.ts": {
    "Volume.io": does("does its I/O"),
  },
  "checker/world/port.ts": {
    "SimulatedPort.touch": does("touches a window"),
    "SimulatedPort.showZeroProtected": does("shows the zero page"),
  },
  "checker/world/device.ts": {
    "SimulatedDevice.copyIn": does("copies into the block"),
    "SimulatedDevice.copyOut": does("copies out of the block"),
  },
  "window/window.ts": {
    "Windows.add": does("adds a window"),
    "Windows.remove": does("removes a window"),
    "Windows.pruneDead": does(
      "removes the windows of dead threads",
      "looks for dead threads' windows",
    ),
    "Windows.noteShown": does("notes what the window shows"),
    "Windows.noteLost": does("notes a lost page"),
    "Windows.revoke": does("revokes the windows", "finds no window to revoke"),
    "Windows.revokePage": does("revokes the page in every window"),
    "Windows.at": does("looks up the window"),
    "Windows.mappingOf": inside("looks up the window's file"),
    "Windows.address": inside("looks up the window's address"),
    "Windows.firstPage": inside("looks up the window's range"),
    "Windows.pages": inside("looks up the window's range"),
    "Windows.isWritable": inside("looks whether the window writes"),
    "Windows.serial": does("looks whether the window is still there"),
    "Windows.hasWindows": does("looks for windows"),
    "Windows.forEachWindow": inside("goes through the windows"),
    "Windows.countFault": inside("counts a fault"),
  },
};

const FILES: Readonly<Record<string, Readonly<Record<string, Phrase>>>> = {
  "dax/dax.ts": {
    "Dax.cachedExtent": does("looks up the extent"),
    findExtent: does("looks up the extent"),
    stableSize: does("reads the size"),
    beginLayoutTransaction: around("opens a transaction"),
    changeSize: does("sets the size"),
    touchTimes: does("sets the times"),
  },
  "dax/pins.ts": {
    pinRange: around("pins the range"),
    tryPinRange: around("pins the range"),
    "Pin.release": around("gives its pin back"),
    "Pin.dispose": around("gives its pin back"),
    "Pin.verify": does("looks whether its pages are still the file's"),
  },
  "dax/layout-change.ts": {
    truncateFile: around("truncates the file"),
    punchHole: around("punches a hole"),
    zeroRange: around("zeroes the range"),
    collapseRange: around("collapses the range"),
    insertRange: around("inserts a range"),
    preallocate: around("preallocates"),
    evictMapping: around("evicts the file"),
    changeLayout: around("changes the layout"),
    assertPagesFree: does("looks whether the blocks' pages are free"),
    freeBlocks: around("frees the blocks"),
    inTransactions: around("changes the layout"),
    zeroMapped: around("zeroes the blocks"),
    clearRange: around("clears the range"),
    backWithBlocks: around("backs the range with blocks"),
    growTo: around("grows the file"),
  },
  "dax/fault.ts": {
    populate: around("makes the pages present"),
    makePresent: around("makes the page present"),
    mappedExtent: around("looks up the extent"),
    extentAround: around("looks up the extent"),
    pagesPresent: does("looks at the entry"),
    replaceByPage: around("makes the entry a page"),
    replaceZero: does("takes the zero page out of the windows"),
    resolveFault: around("serves the fault"),
    showPage: around("shows the page"),
    showHole: around("shows a hole"),
    unshareTouched: around("makes the page the file's own"),
    showFailed: around("shows a lost page"),
    lockIfRoom: around("locks the entry"),
    showAll: around("shows the whole window"),
    around: around("looks how far it can show"),
    presentFrom: around("makes pages present"),
  },
  "dax/remove-pages.ts": {
    removePages: does("removes the pages"),
    recoverRemovals: around("finishes the removal of a dead thread"),
  },
  "dax/show.ts": {
    showDevicePages: does("shows the pages"),
    showInWindows: around("shows the pages in the windows"),
    showLost: does("shows a lost page"),
  },
  "dax/unshare.ts": {
    findShared: does("looks for shared extents"),
    findStillShared: around("looks whether others have the blocks still"),
    unshareBroken: around("copies the shared blocks"),
    unsharePages: around("makes the pages the file's own"),
    unshareRange: around("makes the range the file's own"),
    unshareBytes: around("makes the range the file's own"),
  },
  "dax/write-lock.ts": {
    lockForWrite: around("takes the io lock to write"),
    recallForWrite: around("looks for leases"),
  },
  "dax/reflink.ts": {
    cloneRange: around("clones the range"),
    dedupeRange: around("shares the range if it is the same"),
    shareBroken: around("shares the blocks"),
    holdSame: around("compares the bytes"),
  },
  "dax/file-io.ts": {
    tryReadFile: around("reads the file"),
    readFile: around("reads the file"),
    readExtents: around("reads the file"),
    tryWriteFile: around("writes the file"),
    writeFile: around("writes the file"),
    writeExtents: around("writes the file"),
    allocateFor: around("allocates blocks"),
    finishWrite: around("ends the write"),
    showWritten: around("shows what was written"),
    mayShowZeroes: does("looks for zero pages"),
    zeroTail: around("zeroes the last page's rest"),
  },
  "dax/map-window.ts": {
    mapWindow: around("maps the file"),
    "FileWindow.closeWith": around("closes the window"),
  },
  "dax/pager.ts": { runPager: around("serves faults") },
  "dax/refresh.ts": {
    refreshWindows: around("refreshes the windows"),
    showAgain: around("shows the windows again"),
  },
  "dax/write-back.ts": {
    writeBack: around("writes back"),
    persistRange: around("persists the range"),
    persistMarked: does("persists what is marked dirty"),
  },
  "iomap/contract.ts": {
    extentAt: does("looks up the extent"),
    allocate: does("allocates blocks"),
    removeExtents: does("frees the blocks"),
    unwriteExtents: does("makes the blocks unwritten"),
    shiftExtents: does("moves the extents"),
    setSize: does("sets the size"),
    setAttributes: does("sets the attributes"),
  },
  "metadata/sequence.ts": {
    readStable: around("reads under the layout sequence"),
    tryReadStable: around("reads under the layout sequence"),
  },
  "metadata/transaction.ts": {
    beginTransaction: around("opens a transaction"),
    recoverTransactions: does("ends the transaction of a dead thread"),
    "Transaction.edit": does("edits a block"),
    "Transaction.create": does("makes a block metadata"),
    "Transaction.revoke": does("forgets a block"),
    "Transaction.setWord": does("changes a word in the transaction"),
    "Transaction.beginLayoutChange": does("makes the layout sequence odd"),
    "Transaction.commit": does("commits the transaction"),
    "Transaction.abort": does("undoes the transaction"),
    "Transaction.dispose": around("ends the transaction"),
    "Transaction.getWord": inside("reads a word"),
    rollBack: does("undoes the transaction"),
    endSequences: inside("makes the layout sequences even"),
  },
};

/** By file, relative to the sources. */
export const PHRASES = { ...SYNC, ...PAGES, ...FILES };

interface Candidate {
  readonly file: string;
  readonly key: string;
  readonly phrase: Phrase;
}

/** Under each function's full name and, of a method, its last part. */
const candidatesByName = new Map<string, Candidate[]>();
for (const [file, phrases] of Object.entries(PHRASES)) {
  for (const [key, phrase] of Object.entries(phrases)) {
    for (const name of new Set([key, lastPart(key)])) {
      const candidates = candidatesByName.get(name) ?? [];
      candidates.push({ file, key, phrase });
      candidatesByName.set(name, candidates);
    }
  }
}

function lastPart(name: string): string {
  return name.slice(name.lastIndexOf(".") + 1);
}

const NAMELESS: Phrase = inside("runs");

/** The phrase for a function, or null when the table has none. */
export function phraseOf(site: Site): Phrase | null {
  const name = site.function.replace("[Symbol.dispose]", "dispose").replaceAll("#", "");
  const last = lastPart(name);
  // Arrow functions, and what a compiler adds.
  if (last === "" || last.includes("anonymous") || last.startsWith("__")) return NAMELESS;
  const named = candidatesByName.get(name) ?? [];
  const plain = (candidatesByName.get(last) ?? []).filter(({ key }) => key === last);
  const candidates = named.length > 0 ? named : plain;
  if (candidates.length <= 1) return candidates[0]?.phrase ?? null;
  return candidates.find(({ file }) => site.file.endsWith(file))?.phrase ?? null;
}

/** What a stack is busy with. */
export interface Activity {
  readonly phrase: Phrase;
  /** Index of its function in the stack. */
  readonly depth: number;
}

/** The activity to tell of a step with this stack; null for an empty stack. */
export function activityOf(stack: readonly Site[]): Activity | null {
  const phrases = stack.map(phraseOf);
  const isActivity = (phrase: Phrase | null): boolean =>
    phrase !== null && phrase.role !== "around" && phrase.role !== "inside";
  let depth = phrases.findIndex(isActivity);
  if (depth < 0) {
    const outer = phrases.findLastIndex((phrase) => phrase?.role === "around");
    const unknown = phrases.indexOf(null, outer + 1);
    // Below a known part of the core, what it calls; else the last, or what that one calls.
    if (outer >= 0) depth = unknown < 0 ? outer : unknown;
    else depth = Math.min(phrases.lastIndexOf(null) + 1, stack.length - 1);
  }
  const site = stack[depth];
  if (site === undefined) return null;
  return { phrase: phrases[depth] ?? does(`${site.function}()`), depth };
}

/** Whether a step's access, made for the activity at `depth` of its stack, is bookkeeping only. */
export function isBookkeeping(stack: readonly Site[], depth: number): boolean {
  return stack.slice(depth + 1).some((site) => phraseOf(site)?.role === "inside");
}
