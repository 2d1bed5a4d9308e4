/** Variants of the core as a whole: faults, layout changes and reads of the layout, each with a step left out. */
import { variant } from "../variant.ts";

export const blocksBeforeEntries = variant({
  name: "blocks-before-entries",
  about: "A layout change frees the blocks first and takes their pages out of the file second.",
  from: "dax: truncate_pagecache after the blocks were freed; DESIGN.md 5.6, invariant 1",
  edits: [
    {
      file: "dax/layout-change.ts",
      find: "            yield* change(sizeOf(dax.thread, mapping), broken.map);\n        }",
      replace:
        "            yield* change(sizeOf(dax.thread, mapping), broken.map);\n" +
        "            if (broken.range !== null)\n                removePages(dax, mapping, broken.range);\n" +
        "        }",
    },
    {
      file: "dax/layout-change.ts",
      find:
        "            if (broken.range !== null)\n                removePages(dax, mapping, broken.range);\n" +
        "            yield* change",
      replace: "            yield* change",
    },
  ],
  caughtBy: { "dax-punch": "invariant" },
});

export const waitedOnce = variant({
  name: "waited-once",
  about:
    "After its wait for a pin, a break takes its locks again but looks for no other busy page.",
  from: "[PATCH v7 12/12] ext4, dax: one wait in ext4_break_layouts; layout/break.ts, rule 2",
  edits: [
    {
      file: "layout/break.ts",
      find: "const found = findBusyIn(context, ranges);",
      replace: "const found = patience.waited !== true ? findBusyIn(context, ranges) : null;",
    },
    {
      file: "layout/break.ts",
      find: "        yield* waitForPage(context, busy, patience);",
      replace:
        "        patience.waited = true;\n        yield* waitForPage(context, busy, patience);",
    },
  ],
  caughtBy: { "dax-two-busy": "invariant" },
});

export const plannedOnce = variant({
  name: "planned-once",
  about: "After its wait for a pin, a break goes on with the range that it had planned before.",
  from: "layout/break.ts, rule 2: a lock dropped means that everything is looked at again",
  edits: [
    {
      file: "layout/break.ts",
      find: "            const planned = plan();",
      replace:
        "            const planned = patience.planned === undefined ? plan() : patience.planned;\n" +
        "            patience.planned = planned;",
    },
  ],
  caughtBy: { "dax-collapse-truncate": "check" },
});

export const windowsKept = variant({
  name: "windows-kept",
  about: "A break does not revoke the windows over its range.",
  from: "DESIGN.md 5.4, step 2; unmap_mapping_range left out",
  edits: [
    {
      file: "layout/break.ts",
      find: "                context.windows.revoke(mapping, first, last);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-window-reuse": "check" },
});

export const zeroPageKept = variant({
  name: "zero-page-kept",
  about: "A hole's block takes the place of the zero page in the file, but not in its windows.",
  from: "dax: 'fix radix tree replacement of the zero page', unmap before dax_insert_entry",
  edits: [
    {
      file: "dax/fault.ts",
      find: "        if (zero || hasLostUnlisted(dax.thread, held.mapping)) {",
      replace: "        if (devicePage < 0) {",
    },
  ],
  caughtBy: { "dax-hole-shown-pin": "check" },
});

export const notZeroed = variant({
  name: "not-zeroed",
  about: "New blocks are shown as they were left by the file that had them before.",
  from: "ext4, xfs: 'zero blocks in get_block for DAX'; iomap: zero before the extent is written",
  edits: [
    {
      file: "drivers/ram/extents.ts",
      find: '    if (mode === "write")\n        device.zero(run.start * BLOCK_SIZE, run.length * BLOCK_SIZE);\n',
      replace: "",
    },
  ],
  caughtBy: { "dax-hole-fault-reuse": "check" },
});

export const unstableRead = variant({
  name: "unstable-read",
  about: "What was read of the layout counts, even if a transaction changed it meanwhile.",
  from: "metadata/sequence.ts; a seqcount without its retry",
  edits: [
    {
      file: "metadata/sequence.ts",
      find: "            const value = read();\n            if (load(words, sequence) === before)\n                return value;\n        }\n        catch (error) {\n            if (load(words, sequence) === before)\n                throw error;\n        }\n    }",
      replace:
        "            return read();\n        }\n        catch (error) {\n            throw error;\n        }\n    }",
    },
  ],
  caughtBy: { "dax-undone-allocation": "check" },
});

export const sequenceStill = variant({
  name: "sequence-still",
  about: "A transaction changes the layout's sequence once, at its end: it is never odd.",
  from: "metadata/transaction.ts, rule 3; a writer without write_seqcount_begin",
  edits: [
    {
      file: "metadata/transaction.ts",
      find: "        add(words, sequence, 1);\n    }\n    /** Ends the transaction: its changes stay. */",
      replace: "    }\n    /** Ends the transaction: its changes stay. */",
    },
    {
      file: "metadata/transaction.ts",
      find: "    if ((load(words, sequence) & 1) === 0)\n        return;\n    add(words, sequence, 1);",
      replace: "    add(words, sequence, 2);",
    },
  ],
  caughtBy: { "dax-kill-fault": "check" },
});

export const ownerLater = variant({
  name: "owner-later",
  about: "A fault publishes the entry first and gives the page its owner second.",
  from: "fs/dax: dax_insert_entry against dax_associate_entry; DESIGN.md 5.2",
  edits: [
    {
      file: "mapping/entries.ts",
      find: "            page = pages.associate(devicePage, claimed, mapping, index, false);\n",
      replace:
        "            page = pages.find(devicePage) ?? -1;\n" +
        "            for (let offset = 0; page >= 0 && offset < claimed; offset++) {\n" +
        "                store(words, first + offset, makeEntry(EntryKind.page, page + offset));\n" +
        "            }\n" +
        "            page = pages.associate(devicePage, claimed, mapping, index, false);\n",
    },
  ],
  caughtBy: { "dax-two-pinners": "check" },
});

export const notRefreshed = variant({
  name: "not-refreshed",
  about: "A write call that fills a hole or extends the file leaves the windows as they are.",
  from: "dax: invalidate_inode_pages2_range after a write into a hole; ext4: i_size and a fault beyond it",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "            yield* showWritten(task, dax, mapping, start, end, size, change);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-hole-write-window": "check", "dax-extend-window": "check" },
});

export const notShownAgain = variant({
  name: "not-shown-again",
  about: "Where touches cannot fault, what a layout change revoked is not shown again.",
  from: "dax/refresh.ts, showAgain",
  edits: [
    {
      file: "dax/layout-change.ts",
      find: "            yield* showAgain(task, dax, mapping, broken.map);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-populated-window": "check" },
});

export const failedNotShownAgain = variant({
  name: "failed-not-shown-again",
  about:
    "Where touches cannot fault, what a layout change revoked is not shown again if the change fails: windows " +
    "show zeroes, and the file holds what it held.",
  from: "our own core, before clone-full-populated found it",
  edits: [
    {
      file: "dax/layout-change.ts",
      find: "        finally {\n            // Also what has failed has revoked what windows showed.\n",
      replace:
        "        catch (error) {\n            throw error;\n        }\n        if (broken.range !== null) {\n",
    },
    {
      file: "dax/reflink.ts",
      find: "        finally {\n",
      replace: "        catch (error) {\n            throw error;\n        }\n        {\n",
    },
  ],
  caughtBy: { "clone-full-populated": "check", "dax-full-zero-populated": "check" },
});

export const pinWithoutLock = variant({
  name: "pin-without-lock",
  about: "The slow path of a pin takes no lock: it faults and counts while the layout changes.",
  from: "DESIGN.md 5.3; get_user_pages without mmap_lock",
  edits: [
    {
      file: "pin/pin.ts",
      find: 'using _map = yield* lockShared(task, mapping + MappingWord.mapLock, {\n        rankName: "map",\n        order: ino,\n    });\n',
      replace: "",
    },
  ],
  caughtBy: { "dax-pin-hole": "leak" },
});

export const faultWithoutLock = variant({
  name: "fault-without-lock",
  about: "A fault takes no lock against layout changes.",
  from: "ext2, ext4, xfs: 'add dax fault vs truncate protection' (dax_sem, i_mmap_sem)",
  edits: [
    {
      file: "dax/fault.ts",
      find: "using _map = yield* lockShared(task, mapping + MappingWord.mapLock, mapName(dax, mapping));\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-fault-truncate": "check" },
});

export const endNotLookedAt = variant({
  name: "end-not-looked-at",
  about: "A fault does not look again, under its lock, whether the page is past the file's end.",
  from: "dax: 'fix fault vs truncate', i_size read before the lock",
  edits: [
    {
      file: "dax/fault.ts",
      find: "if (index * PAGE_SIZE >= size) {",
      replace: "if (index * PAGE_SIZE >= size + HUGE_SIZE) {",
    },
  ],
  caughtBy: { "dax-fault-truncate": "leak" },
});

export const foliosCut = variant({
  name: "folios-cut",
  about: "A break covers the pages that change, though an entry of 2 MiB sticks out of them.",
  from: "dax: PMD entries across the boundary of a truncate or punch",
  edits: [
    {
      file: "layout/break.ts",
      find: "ranges.set(mapping, wholeFolios(thread, mapping, planned));",
      replace: "ranges.set(mapping, planned);",
    },
  ],
  caughtBy: { "dax-huge-truncate": "invariant" },
});

export const removalNotFinished = variant({
  name: "removal-not-finished",
  about: "When a thread dies while it removes entries, nobody ends what it has begun.",
  from: "dax/remove-pages.ts, recoverRemovals",
  edits: [
    {
      file: "dax/remove-pages.ts",
      find: "    store(words, mapping + MappingWord.removing, 1);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-kill-truncate": "check" },
});

export const holeNotLookedAtAgain = variant({
  name: "hole-not-looked-at-again",
  about:
    "A fault finds a hole, locks its entry and shows the zero page, though a write call may have filled the " +
    "hole before the entry was there.",
  from: "our own core, before dax-hole-write-window found it; dax: fix cache invalidation of hole pages",
  edits: [
    {
      file: "dax/fault.ts",
      find: '    if (extent === null || extent.kind === "mapped") {',
      replace: "    if (isPageKind(kindOf(held.entry))) {",
    },
  ],
  caughtBy: { "dax-hole-write-window": "check" },
});

export const lockedEntryOverlooked = variant({
  name: "fault-under-way-overlooked",
  about:
    "A write call into a hole looks for zero entries, but not for the locked one of a fault that is about to " +
    "show the zero page.",
  from: "our own core, before dax-hole-write-window found it; bug 10, locked entries skipped",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "        if (!isPageKind(kindOf(entry)))\n            found = true;",
      replace: "        if (kindOf(entry) === 3)\n            found = true;",
    },
  ],
  caughtBy: { "dax-hole-write-window": "check" },
});

export const lostOverPage = variant({
  name: "lost-over-a-page",
  about: "A fault that failed shows its page as lost, though somebody has made it real meanwhile.",
  from: "our own core, before dax-full-fault found it",
  edits: [
    {
      file: "dax/fault.ts",
      find: "        // Somebody made the page real meanwhile.\n        yield* showLockedPage(task, dax, window, index, held);\n",
      replace: "        unlockEntry(dax.thread, held);\n        showLost(dax, window, index);\n",
    },
  ],
  caughtBy: { "dax-full-fault": "check" },
});

export const chunkLost = variant({
  name: "guard-not-repaired",
  about: "A thread dies while it frees a chunk of page records; nobody works the chunks out again.",
  from: "our own core, before dax-kill-last-page found it",
  edits: [
    {
      file: "pages/pages.ts",
      find: "            this.#repair();\n",
      replace: "            void 0;\n",
    },
  ],
  caughtBy: { "dax-kill-last-page": "error" },
});

export const extentsFromThePage = variant({
  name: "extents-from-the-page",
  about: "A fault knows an extent from its page on: drivers tell no more than they are asked.",
  from: "our own core, before dax-folio-faulted found it",
  edits: [
    {
      file: "dax/fault.ts",
      find: "        yield* findExtent(task, dax, mapping, (index - (index % HUGE_PAGES)) * PAGE_SIZE);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-folio-faulted": "check" },
});

export const lostNotLookedForAgain = variant({
  name: "lost-not-looked-for-again",
  about:
    "There is no memory for the entry of a lost page. It is noted that a window shows it, but nobody looks " +
    "whether somebody made the page real before the note.",
  from: "our own core, before dax-lost-meanwhile found it",
  edits: [
    {
      file: "dax/fault.ts",
      find: "        showLostUnlisted(dax, window, index);\n        held = yield* lockIfRoom(task, mapping, index);\n        if (held === null)\n            return;\n",
      replace: "        showLostUnlisted(dax, window, index);\n        return;\n",
    },
  ],
  caughtBy: { "dax-lost-meanwhile": "check" },
});

export const lostUnlisted = variant({
  name: "lost-page-without-a-note",
  about:
    "There is no memory for the entry of a lost page, and nothing says that a window shows it.",
  from: "our own core, before dax-lost-for-memory found it",
  edits: [
    {
      file: "dax/fault.ts",
      find: "    noteLostUnlisted(dax.thread, dax.windows.mappingOf(window));\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-lost-for-memory": "check" },
});

export const windowNotLookedAtAgain = variant({
  name: "window-not-looked-at-again",
  about:
    "A fault does not look, under its lock, whether the window is still the one that was touched, and over " +
    "that address.",
  from: "our own core, before dax-map-reused found it; handle_mm_fault without a look at the vma",
  edits: [
    {
      file: "dax/fault.ts",
      find: "    if (!windows.isOver(window, serial, address))\n        return 0;\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-map-reused": "error", "dax-window-closed": "check" },
});

export const refreshedFromTheEnd = variant({
  name: "refreshed-from-the-end",
  about:
    "A write that fills a hole and extends the file refreshes windows from the old end on only.",
  from: "our own core, before dax-contents-write-shown found it",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "const from = Math.min(first, Math.floor(size / PAGE_SIZE));",
      replace: "const from = Math.floor(size / PAGE_SIZE);",
    },
  ],
  caughtBy: { "dax-contents-write-shown": "check" },
});

export const populatedZeroesKept = variant({
  name: "populated-zeroes-kept",
  about:
    "Windows that cannot fault show holes as zeroes, and go on to do so when a write or a pin has filled " +
    "them.",
  from: "our own core, before dax-contents-write-populated found it",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "const isHidden = change.filled && !dax.windows.port.faults;",
      replace: "const isHidden = false;",
    },
    {
      file: "dax/fault.ts",
      find: "        if (!dax.windows.port.faults)\n            showFilled(dax, mapping, filled);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-contents-write-populated": "check", "dax-hole-pinned-populated": "check" },
});

export const failedWindowKept = variant({
  name: "failed-window-kept",
  about: "A window that cannot be shown whole, since the volume is full, is left behind.",
  from: "our own core, before dax-populated-full found it; invariant 5.6 (7)",
  edits: [
    {
      file: "dax/map-window.ts",
      find: "        windows.remove(window);\n        windows.port.release(address, length);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-populated-full": "check" },
});

export const clearedBeforeBlocks = variant({
  name: "cleared-before-blocks",
  about: "A zero range clears bytes first and looks for blocks for its holes second.",
  from: "our own core, before dax-full-zero found it; invariant 5.6 (7)",
  edits: [
    {
      file: "dax/layout-change.ts",
      find:
        "        yield* backWithBlocks(task, dax, mapping, offset, end); // which sets the times\n" +
        "        yield* clearRange(task, dax, mapping, offset, end, unwrite);\n",
      replace:
        "        yield* clearRange(task, dax, mapping, offset, end, unwrite);\n" +
        "        yield* backWithBlocks(task, dax, mapping, offset, end);\n",
    },
  ],
  caughtBy: { "dax-full-zero": "check" },
});

export const clearedWithoutTimes = variant({
  name: "cleared-without-times",
  about: "A punch or a zero range within one block does not set the file's times.",
  from: "our own core, before dax-contents-clear found it; fallocate(2)",
  edits: [
    {
      file: "dax/layout-change.ts",
      find:
        "    else {\n        yield* inTransactions(task, dax, mapping, (transaction) => {\n" +
        "            touchTimes(dax, transaction, mapping);\n            return true;\n        });\n    }\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-contents-clear": "check" },
});

export const refreshAborted = variant({
  name: "refresh-aborted",
  about:
    "A write or a preallocation that is aborted after it has committed leaves windows as they were.",
  from: "dax/refresh.ts, as it was; dax_writeback and i_size_write before an interruptible wait",
  edits: [
    {
      file: "dax/refresh.ts",
      find: "    using _enduring = task.endure();\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-aborted-write": "check", "dax-aborted-preallocation": "check" },
});

export const endedForgets = variant({
  name: "ended-forgets",
  about:
    "A write that is ended after it has written some of its data fails, and does not tell how much.",
  from: "dax/file-io.ts, writeExtents, as it was",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "!(full || error === task.ended)",
      replace: "!full",
    },
  ],
  caughtBy: { "dax-end-write": "check" },
});

export const endedUnfinished = variant({
  name: "ended-unfinished",
  about: "A write that is ended may be so before the size and the times are set.",
  from: "dax/file-io.ts, finishWrite, as it was",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "    using _enduring = task.endure();\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-end-write": "check" },
});

export const timeHidden = variant({
  name: "time-hidden",
  about: "A write that has set the time notes so whatever has happened to the time meanwhile.",
  from: "dax/file-io.ts, finishWrite, as it was",
  edits: [
    {
      file: "dax/write-times.ts",
      find: "    cas(words, wordOf(mapping), noted, tick | 1);\n",
      replace: "    store(words, wordOf(mapping), tick | 1);\n",
    },
  ],
  caughtBy: { "dax-write-beside-times": "check" },
});

export const failureNotShown = variant({
  name: "failure-not-shown",
  about: "A write that fails after the file has grown leaves windows as they were.",
  from: "dax/file-io.ts, writeFile, as it was",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "        finally {\n            // Also what has failed on the way may have filled holes, and the file may have grown.\n",
      replace: "        catch (error) {\n            throw error;\n        }\n        {\n",
    },
  ],
  caughtBy: { "dax-failed-write": "check" },
});

export const grownBeforeRevoked = variant({
  name: "grown-before-revoked",
  about: "A range of zeroes makes a file larger first, and takes lost pages out of windows second.",
  from: "dax/layout-change.ts, zeroRange, as it was",
  edits: [
    {
      file: "dax/layout-change.ts",
      find:
        "        revokeFrom(dax, mapping, size);\n" +
        "        yield* growTo(task, dax, mapping, size, end, map);\n",
      replace:
        "        yield* growTo(task, dax, mapping, size, end, map);\n" +
        "        revokeFrom(dax, mapping, size);\n",
    },
  ],
  caughtBy: { "dax-kill-zero-grows": "check" },
});

export const beyondEndKept = variant({
  name: "beyond-end-kept",
  about: "A truncate to the size that the file has frees nothing.",
  from: "dax/layout-change.ts, truncateFile, as it was; found by random programs beside the kernel",
  edits: [
    {
      file: "dax/layout-change.ts",
      find: "    if (size !== before)\n        return size < before;\n",
      replace: "    return size < before;\n",
    },
  ],
  caughtBy: { "dax-truncate-same": "leak" },
});
