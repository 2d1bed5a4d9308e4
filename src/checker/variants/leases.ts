/** Variants of leases: how they are recalled, returned, waited for and given up. */
import { variant } from "../variant.ts";

export const leaseBeforeLocks = variant({
  name: "leases-before-locks",
  about: "A break looks for leases before it takes its locks, and not with them held.",
  from: "DESIGN.md 5.4, step 1: the locks are held; break_layout() before xfs_ilock()",
  edits: [
    {
      file: "layout/break.ts",
      find: "        let busy;\n",
      replace:
        "        let busy;\n" +
        "        const early = new Map();\n" +
        "        for (const { mapping, plan } of sorted) {\n" +
        "            const planned = plan();\n" +
        "            if (planned !== null) early.set(mapping, planned);\n" +
        "        }\n" +
        "        if (leases.recall(early)) {\n" +
        "            yield* leases.wait();\n" +
        "            continue;\n" +
        "        }\n",
    },
    {
      file: "layout/break.ts",
      find: "if (leases.recall(ranges)) {",
      replace: "if (ranges === null) {",
    },
  ],
  caughtBy: { "lease-return": "check" },
});

export const grantWithoutLock = variant({
  name: "granted-without-lock",
  about: "A lease is granted under the leases' guard alone: it slips into a break that has looked.",
  from: "a lease granted while a break is announced; layout/lease.ts, rule 2",
  edits: [
    {
      file: "layout/lease.ts",
      find:
        "    using _io = yield* lockShared(task, mapping + MappingWord.ioLock, {\n" +
        '        rankName: "io",\n' +
        "        order: inoOf(thread, mapping),\n" +
        "    });\n",
      replace: "",
    },
  ],
  caughtBy: { "lease-return": "check" },
});

export const waitsForLeaseWithLocks = variant({
  name: "waits-for-lease-with-locks",
  about:
    "A break waits for the return of a lease with its locks held. The holder needs one of them before it " +
    "can return, and is late.",
  from: "[PATCH v7 10/12] xfs: prepare xfs_break_layouts() to be called with XFS_MMAPLOCK_EXCL",
  edits: [
    {
      file: "layout/break.ts",
      find: "                maps.release();\n                ios.release();\n",
      replace: "",
    },
  ],
  caughtBy: { "lease-recall": "check" },
});

export const leaseNotLookedAtAgain = variant({
  name: "leases-looked-at-once",
  about:
    "Once it has waited for a lease, a break goes on with what comes after it, and does not look for " +
    "leases again.",
  from: "[PATCH v7] review: did_unlock means retry; layout/lease.ts, rule 5",
  edits: [
    {
      file: "layout/break.ts",
      find: "        let busy;\n",
      replace: "        var busy, waited;\n",
    },
    {
      file: "layout/break.ts",
      find: "if (leases.recall(ranges)) {",
      replace: "if (!waited && leases.recall(ranges)) {\n" + "                waited = true;",
    },
  ],
  caughtBy: { "lease-two-holders": "check" },
});

export const waitsForOwnBreak = variant({
  name: "waits-for-its-own-break",
  about:
    "A request that blocks waits for a request or a change of its own thread, which goes on only when " +
    "that thread does not block.",
  from: "layout/lease.ts until rule 7 told of requests and breaks",
  edits: [
    {
      file: "layout/lease.ts",
      find: "if (isOwn && reason === Reason.lease && !claim.returnsOwn) {",
      replace: "if (isGranted && isOwn && reason === Reason.lease && !claim.returnsOwn) {",
    },
    {
      file: "layout/lease.ts",
      find: "if (isOwn && obstacle.deadline === null) {",
      replace: "if (obstacle.state === LeaseState.granted) {",
    },
  ],
  caughtBy: { "lease-own-break": "check" },
});

export const deadLeaseStays = variant({
  name: "leases-of-the-dead-stay",
  about: "The leases of a thread that has died are not taken away: they go by their deadline only.",
  from: "issue 4, row 11: expiry of a dead holder",
  edits: [
    {
      file: "layout/lease.ts",
      find: "            if (!isPin)\n                unlink(thread, lease);\n",
      replace: "",
    },
  ],
  caughtBy: { "lease-death": "leak" },
});

export const expiredStillCounts = variant({
  name: "expired-lease-counts",
  about: "A lease whose time is up still counts, until its holder returns it.",
  from: "issue 4, row 11; RFC 8881, 12.5.5: a client that does not return its layout is fenced",
  edits: [
    {
      file: "layout/lease.ts",
      find: "        if (state === LeaseState.expired)\n            continue;\n        const isGranted",
      replace: "        const isGranted",
    },
  ],
  caughtBy: { "lease-expiry": "deadlock" },
});

export const graceBeginsAnew = variant({
  name: "grace-begins-anew",
  about: "Each look at a lease recalls it anew: as long as more breaks come, it never expires.",
  from: "layout/lease.ts, rule 4",
  edits: [
    {
      file: "layout/lease.ts",
      find: "    if (load(words, lease + LeaseRecord.state) === LeaseState.granted) {\n",
      replace: "    if (load(words, lease + LeaseRecord.state) >= LeaseState.granted) {\n",
    },
  ],
  caughtBy: { "lease-two-changes": "check" },
});

export const returnWakesNobody = variant({
  name: "return-wakes-nobody",
  about: "A lease that is returned changes the word that waiters sleep on, and does not wake them.",
  from: "DESIGN.md 5.6 (4); bug 3: the wake-up that is forgotten on one of the release paths",
  edits: [
    {
      file: "layout/lease.ts",
      find:
        "    leave(thread);\n    wakeAll(words, mapping + MappingWord.leaseWake);\n" +
        "    wakeAll(words, lease + LeaseRecord.state);\n",
      replace: "    leave(thread);\n    wakeAll(words, lease + LeaseRecord.state);\n",
    },
  ],
  caughtBy: { "lease-recall": "check" },
});

export const recallTellsNobody = variant({
  name: "recall-tells-nobody",
  about: "A recall is noted in the lease, and its holder not woken.",
  from: "issue 4, row 7: the holder gets a callback and a deadline",
  edits: [
    {
      file: "layout/lease.ts",
      find: "        add(words, areaOf(thread) + LeaseArea.recalls, 1);\n    }\n    wakeAll(words, lease + LeaseRecord.state);\n",
      replace: "        add(words, areaOf(thread) + LeaseArea.recalls, 1);\n    }\n",
    },
  ],
  caughtBy: { "lease-recall": "check" },
});

export const grantTellsNobody = variant({
  name: "grant-tells-nobody",
  about:
    "A request that is granted does not tell those who wait behind it: nobody recalls the lease that it " +
    "has become.",
  from: "found while this was built",
  edits: [
    {
      file: "layout/lease.ts",
      find:
        "        // Those who wait for this request have a lease to recall now.\n" +
        "        add(words, mapping + MappingWord.leaseWake, 1);\n",
      replace: "",
    },
  ],
  caughtBy: { "lease-in-turn": "deadlock" },
});

export const breakWithoutPlace = variant({
  name: "break-without-a-place",
  about:
    "A break that waits for leases does not stand in the queue of requests. New ones overtake it, and it " +
    "recalls and waits again, as long as they come.",
  from: "issue 4, row 11: starvation; try_break_deleg() retries, and new delegations are held off by a filter",
  edits: [
    {
      file: "layout/lease.ts",
      find: "        this.#queue(first, last);\n        return true;\n",
      replace: "        return true;\n",
    },
  ],
  caughtBy: { "lease-overtaken": "check" },
});

export const requestsOvertake = variant({
  name: "requests-overtake",
  about:
    "A request looks at what is granted, not at those who asked before: shared ones starve exclusive ones.",
  from: "layout/lease.ts, rule 3",
  edits: [
    {
      file: "layout/lease.ts",
      find: "        if (!isGranted && reason !== Reason.lease)\n            continue;",
      replace: "        if (!isGranted)\n            continue;",
    },
  ],
  caughtBy: { "lease-in-turn": "check" },
});

export const pinLooksFirst = variant({
  name: "long-term-pin-looks-first",
  about:
    "A long-term pin looks whether its lease is recalled, and is tied to it afterwards: whoever recalls " +
    "in between does not see it.",
  from: "layout/lease.ts, rule 6; get_user_pages_fast: look, then count",
  edits: [
    {
      file: "layout/lease.ts",
      find: "export function tiePin(thread, lease, pin) {\n",
      replace: "export function tiePin(thread, lease, pin) {\n    assertGranted(thread, lease);\n",
    },
    {
      file: "layout/lease.ts",
      find: "    try {\n        assertGranted(thread, lease);\n    }\n",
      replace: "    try {\n    }\n",
    },
  ],
  caughtBy: { "lease-pin-recalled": "check" },
});

export const tryWriteLooksFirst = variant({
  name: "write-looks-before-lock",
  about:
    "A write that does not wait looks for leases before it takes the io lock: one that is granted in " +
    "between is overlooked.",
  from: "found by dax-lease-write while this was built",
  edits: [
    {
      file: "dax/file-io.ts",
      find: "        if (load(thread.words, mapping + MappingWord.leases) !== 0)\n            return -1;\n",
      replace: "",
    },
    {
      file: "dax/file-io.ts",
      find: "    const record = tryExclusive(thread, lock);\n",
      replace:
        "    if (load(thread.words, mapping + MappingWord.leases) !== 0)\n        return -1;\n" +
        "    const record = tryExclusive(thread, lock);\n",
    },
  ],
  caughtBy: { "dax-lease-write": "check" },
});

export const writeIntoHole = variant({
  name: "holes-filled-unasked",
  about: "A write call that needs blocks recalls exclusive leases only, as if it wrote in place.",
  from: "RFC 5663, 2.3.2: what a client knows of a hole",
  edits: [
    {
      file: "dax/write-lock.ts",
      find: "leases.recall(first, last, Reason.write, allocates)",
      replace: "leases.recall(first, last, Reason.write, false)",
    },
  ],
  caughtBy: { "dax-lease-hole": "check" },
});

export const pagesFirst = variant({
  name: "pages-before-leases",
  about:
    "A break looks for busy pages first and for leases second, as XFS does: it waits for the long-term " +
    "pin of a holder whom nobody tells.",
  from: "xfs_break_layouts(BREAK_UNMAP): DAX pages first, then leases (6.19)",
  edits: [
    {
      file: "layout/break.ts",
      find: "if (leases.recall(ranges)) {",
      replace: "if (findBusyIn(context, ranges) === null && leases.recall(ranges)) {",
    },
  ],
  caughtBy: { "lease-long-term-pin": "deadlock" },
});

export const clockGoneRound = variant({
  name: "clock-gone-round",
  about: "A deadline that is so long ago that the clock has gone half round counts as one to come.",
  from: "sync/clock.ts: times modulo 2^30; time_after() and jiffies",
  edits: [
    {
      file: "layout/lease.ts",
      find: "if (rest > 0 && rest <= load(words, lease + LeaseRecord.grace))",
      replace: "if (rest > 0)",
    },
  ],
  caughtBy: { "lease-long-expired": "check" },
});

export const copyWaitsInTurn = variant({
  name: "copy-waits-in-turn",
  about:
    "A fault that has to copy a shared page takes its place behind the requests and breaks that wait, and waits " +
    "for them. One of these waits for a pin of the thread that touches.",
  from: "our own core, before collide --mix full cloned files: a touch waited for a layout change",
  edits: [
    {
      file: "layout/lease.ts",
      find: "            this.#takePlace(first, last, true);\n",
      replace: "            this.#takePlace(first, last, false);\n",
    },
    {
      file: "layout/lease.ts",
      find:
        "        const start = load(thread.words, mapping + MappingWord.leases);\n" +
        "        const claim = { first, last, isExclusive: true, reason: Reason.unmap };\n",
      replace:
        "        const start = load(thread.words, this.#place + LeaseRecord.next);\n" +
        "        const claim = { first, last, isExclusive: true, reason: Reason.lease, returnsOwn: true };\n",
    },
  ],
  caughtBy: { "dax-lease-touch": "deadlock" },
});
