/** Variants of device removal, and of the holder of a device inside the process. */
import { variant } from "../variant.ts";

export const removalLooksFirst = variant({
  name: "removal-looks-first",
  about:
    "A removal looks who holds the device, and notes afterwards that it is gone: whoever claims it in " +
    "between is never told.",
  from: "hazard H10: kill_dax notifies the holder before it clears DAXDEV_ALIVE",
  edits: [
    {
      file: "device/state.ts",
      find: "            if (!cas(words, this.word, state, state === FREE ? GONE : -state))\n                continue;\n",
      replace: "            store(words, this.word, state === FREE ? GONE : -state);\n",
    },
  ],
  caughtBy: { "device-claim-removal": "check" },
});

export const holderBeforeName = variant({
  name: "holder-before-name",
  about:
    "A claim makes its thread the holder first, and says who that is second: who is refused in between " +
    "cannot be told.",
  from: "fs_dax_get_by_bdev(): cmpxchg of holder_data, then a plain store of holder_ops",
  edits: [
    {
      file: "device/state.ts",
      find: "            store(words, own, writeText(words, own + 1, name));\n",
      replace: "            store(words, own, 0);\n",
    },
    {
      file: "device/state.ts",
      find: "            if (cas(words, this.word, FREE, holder))\n                return;\n",
      replace:
        "            if (cas(words, this.word, FREE, holder)) {\n" +
        "                store(words, own, writeText(words, own + 1, name));\n" +
        "                return;\n" +
        "            }\n",
    },
  ],
  caughtBy: { "device-claim-release": "check" },
});

export const releaseClearsNext = variant({
  name: "release-clears-next",
  about:
    "What is to be known of the holder lies in one place, written by whoever has become the holder; and a " +
    "release clears it after it has given the device back, so it takes away what the next holder has put there.",
  from: "bug 23: dax: fix holder_ops race in fs_put_dax() (2026)",
  edits: [
    {
      file: "device/state.ts",
      find: "StateArea.names + slotOfHolder(holder) * NAME_WORDS",
      replace: "StateArea.names + slotOfHolder(holder) * 0",
    },
    {
      file: "device/state.ts",
      find: "            store(words, own, writeText(words, own + 1, name));\n",
      replace: "            ;\n",
    },
    {
      file: "device/state.ts",
      find: "            if (cas(words, this.word, FREE, holder))\n                return;\n",
      replace:
        "            if (cas(words, this.word, FREE, holder)) {\n" +
        "                store(words, own, writeText(words, own + 1, name));\n" +
        "                return;\n" +
        "            }\n",
    },
    {
      file: "device/state.ts",
      find: "        if (released)\n            wakeAll(words, this.word);\n",
      replace:
        "        if (released)\n            wakeAll(words, this.word);\n" +
        "        store(words, this.#nameOf(holder), 0);\n",
    },
  ],
  caughtBy: { "device-claim-next": "check" },
});

export const claimOfTheDead = variant({
  name: "claim-of-the-dead-stays",
  about: "A thread dies that holds a device, and holds it for ever.",
  from: "device/state.ts, rule 3",
  edits: [
    {
      file: "device/state.ts",
      find: "        this.thread.onThreadDeath((dead) => this.#release(dead));\n",
      replace: "",
    },
  ],
  caughtBy: { "device-claim-killed": "leak" },
});

export const removalWakesNobody = variant({
  name: "removal-wakes-nobody",
  about: "Who waits for a pin is not told that the device is gone: the layout change waits on.",
  from: "bug 20: removal under a mounted filesystem hung (before MF_MEM_PRE_REMOVE, 6.7)",
  edits: [
    {
      file: "pages/pages.ts",
      find: "            if ((load(words, this.pinWord(page)) & WAITED) !== 0)\n                this.wakeWaiters(page);\n",
      replace: "",
    },
  ],
  caughtBy: { "removal-pinned": "deadlock" },
});

export const removalLookedAtBeforeMark = variant({
  name: "removal-looked-at-before-mark",
  about:
    "A break looks whether the device is there before it marks the page that it waits for: the removal in " +
    "between finds no mark, and wakes nobody.",
  from: "layout/break.ts, waitForPage",
  edits: [
    {
      file: "layout/break.ts",
      find: "        const value = pages.prepareWait(busy.page);\n",
      replace:
        "        pages.deviceState.assertPresent();\n        const value = pages.prepareWait(busy.page);\n",
    },
    {
      file: "layout/break.ts",
      find: "        // After its mark is set: whoever notes that the device is gone wakes all who have one.\n        pages.deviceState.assertPresent();\n",
      replace: "",
    },
  ],
  caughtBy: { "removal-pinned": "deadlock" },
});

export const leasesOutliveDevice = variant({
  name: "leases-outlive-device",
  about: "Leases on a device that is gone stay, and their holders are not told.",
  from: "Linux tells nobody who has a layout of a removed pmem device",
  edits: [
    {
      file: "layout/lease.ts",
      find: "            store(words, lease + LeaseRecord.state, LeaseState.expired);\n            add(words, areaOf(thread) + LeaseArea.expired, 1);\n            const mapping",
      replace: "            const mapping",
    },
  ],
  caughtBy: { "removal-told": "deadlock" },
});

export const goneLookedAtFirst = variant({
  name: "gone-looked-at-first",
  about: "A read looks whether the device is there before it copies, and not afterwards.",
  from: "dax_alive() under dax_read_lock, which a removal waits for; ours waits for no copy",
  edits: [
    {
      file: "dax/poison.ts",
      find: "    const healthy = healthyBytes(pages, address, into.length);\n",
      replace:
        "    if (pages.deviceState.isGone)\n        return 0;\n" +
        "    const healthy = healthyBytes(pages, address, into.length);\n",
    },
    {
      file: "dax/poison.ts",
      find: "    if (pages.deviceState.isGone)\n        return 0;\n    return healthyBytes(pages, address, healthy);\n",
      replace: "    return healthyBytes(pages, address, healthy);\n",
    },
  ],
  caughtBy: { "dax-removal-read": "check" },
});

export const goneLeftMapped = variant({
  name: "gone-left-mapped",
  about: "A fault shows a page without a look whether the device is there.",
  from: "hazard H6: memunmap_pages() waits for no reference of FS-DAX pages",
  edits: [
    {
      file: "dax/fault.ts",
      find: "        if (dax.pages.deviceState.isGone) {\n            showLost",
      replace: "        if (false) {\n            showLost",
    },
    {
      file: "dax/show.ts",
      find: "    if (pages.deviceState.isGone) {\n        for (let lost",
      replace: "    if (false) {\n        for (let lost",
    },
  ],
  caughtBy: { "dax-removal-fault": "check" },
});

export const goneShownAgain = variant({
  name: "gone-shown-again",
  about:
    "Only faults look whether the device is there: a write that fills a hole shows its block in the windows " +
    "that cannot fault, after they were revoked.",
  from: "dax/show.ts, showDevicePages",
  edits: [
    {
      file: "dax/show.ts",
      find: "    if (pages.deviceState.isGone) {\n        for (let lost",
      replace: "    if (false) {\n        for (let lost",
    },
  ],
  caughtBy: { "dax-removal-write": "check" },
});

export const windowsNotRevoked = variant({
  name: "gone-not-revoked",
  about: "A removal keeps new faults out, and leaves what windows show already.",
  from: "device-dax before 2016, and pmem under a mount before 6.7: live mappings of a device that is gone",
  edits: [
    {
      file: "dax/device-removal.ts",
      find: "        windows.revoke(mapping, 0, PAGE_INDEX_MAX);\n",
      replace: "",
    },
  ],
  caughtBy: { "dax-removal-twice": "check" },
});

export const mapLooksFirst = variant({
  name: "map-looks-first",
  about:
    "A window is made after a look whether the device is there, and not looked at again once it is listed.",
  from: "dax/map-window.ts, showFirst",
  edits: [
    {
      file: "dax/map-window.ts",
      find: "        dax.pages.deviceState.assertPresent();\n",
      replace: "",
    },
    {
      file: "dax/show.ts",
      find: "    if (pages.deviceState.isGone) {\n        for (let lost",
      replace: "    if (false) {\n        for (let lost",
    },
  ],
  caughtBy: { "dax-removal-map": "check" },
});

export const pinOverlooksRemoval = variant({
  name: "pin-overlooks-removal",
  about: "A pin that takes no lock does not look whether the device is there.",
  from: "get_user_pages_fast after try_grab_folio, without the pgmap's reference (hazard H6)",
  edits: [
    {
      file: "dax/pins.ts",
      find: "if (!deviceState.isGone && (",
      replace: "if ((",
    },
  ],
  caughtBy: { "dax-removal-pin": "check" },
});

export const handlerReadLast = variant({
  name: "handler-read-last",
  about:
    "Who waits for a removal to be handled tries to handle it, and reads who does so afterwards: when that " +
    "one has given it up in between, it sleeps for a wake-up that has been.",
  from: "our own core, before dax-removal-given-up found it",
  edits: [
    {
      file: "dax/device-removal.ts",
      find: "        const handler = load(dax.thread.words, word);\n        if (handler === HANDLED)\n            return false;\n",
      replace: "",
    },
    {
      file: "dax/device-removal.ts",
      find: "        if (handler === 0)\n            continue; // another one was quicker\n",
      replace:
        "        const handler = load(dax.thread.words, word);\n        if (handler === HANDLED)\n            return false;\n",
    },
  ],
  caughtBy: { "dax-removal-given-up": "deadlock" },
});

export const removalNotTakenOver = variant({
  name: "removal-not-taken-over",
  about: "The thread that handles a removal dies, and nobody goes on.",
  from: "device/state.ts, rule 4",
  edits: [
    {
      file: "device/state.ts",
      find: "handler !== HANDLED && (handler === 0 || !this.thread.isAlive(handler))",
      replace: "handler !== HANDLED && handler === 0",
    },
  ],
  caughtBy: { "dax-removal-killed": "deadlock" },
});

export const writeOverlooksRemoval = variant({
  name: "write-overlooks-removal",
  about:
    "A write in place takes its lock and goes on: it looks for leases, for shared blocks and for room, none of " +
    "which there are, and nowhere whether the device is there.",
  from: "our own core, before dax-write-gone found it",
  edits: [
    {
      file: "dax/write-lock.ts",
      find: "        dax.pages.deviceState.assertPresent();\n    }\n    catch (error) {\n        io.release();",
      replace: "    }\n    catch (error) {\n        io.release();",
    },
  ],
  caughtBy: { "dax-write-gone": "check" },
});
