/** Inodes that a kernel was told of by several threads, and gives back to any of them. */
import type { Ino } from "../../../base/quantities.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import type { Inodes } from "../../world/inodes.ts";
import { opensOf } from "../../world/kernel-mounts.ts";
import { endThread, isDead } from "../../world/threads.ts";
import { inodeStory, reapAndSettle } from "./play.ts";

/** Tells the kernel of the file; as long as it knows of it, it is in use without a reference. */
function* serve(inodes: Inodes, self: Self): Sleeps<void> {
  const reference = yield* inodes.find(self, "A");
  if (reference === null) return;
  self.say("tells the kernel of A");
  yield* inodes.tell(self, reference);
  inodes.use(self, reference);
  yield* inodes.forget(self, reference);
}

/** Gives back what another one may have told the kernel of the file, which it uses itself meanwhile. */
function* forget(inodes: Inodes, self: Self): Sleeps<void> {
  const reference = yield* inodes.find(self, "A");
  yield* inodes.forget(self, reference!);
  inodes.use(self, reference!);
  yield* inodes.close(self, reference!);
}

export const inodeLookups = inodeStory({
  name: "inode-lookups",
  about:
    "Two threads tell the kernel of a file, and it gives back what it was told. The reference that one of them " +
    "has lent for both stays until the last is given back, by whom it may be, and not longer.",
  from: "volume/lookups.ts",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: { first: serve, second: serve },
});

export const inodeLookupsUnlinked = inodeStory({
  name: "inode-lookups-unlinked",
  about:
    "A file that the kernel was told of loses its last name. It stays as long as the kernel knows of it; then it is " +
    "freed, once.",
  from: "volume/lookups.ts, rule 2",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 1 },
  actors: { first: serve, second: serve, unlink: (inodes, self) => inodes.unlink(self, "A") },
  finally: (inodes) => ensure(!inodes.has("A"), "the name is still there"),
});

export const inodeLookupsServerEnds = inodeStory({
  name: "inode-lookups-server-ends",
  about:
    "A thread that has told the kernel of a file serves no more, and gives back what it has lent, while another one " +
    "gives back lookups of the file. It is done once.",
  from: "volume/lookups.ts, rule 2",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *ending(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      yield* inodes.tell(self, reference!);
      yield* inodes.endServing(self);
    },
    other: forget,
  },
});

export const inodeLookupsOtherEnds = inodeStory({
  name: "inode-lookups-other-ends",
  about:
    "A thread that has lent nothing serves the kernel no more. What the kernel knows of a file by another one stays.",
  from: "volume/lookups.ts, rule 1",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    ending: (inodes, self) => inodes.endServing(self),
    *other(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      yield* inodes.tell(self, reference!.again());
      ensure(inodes.isKnown(self, reference!), "the kernel was told of A, and does not know it");
      yield* inodes.forget(self, reference!);
      ensure(!inodes.isKnown(self, reference!), "the kernel has given A back, and knows it");
      yield* inodes.close(self, reference!);
    },
  },
});

export const inodeLookupsCounted = inodeStory({
  name: "inode-lookups-counted",
  about:
    "Two kernels are told of a file, one of them more often than a word counts. Each knows it until it has given back " +
    "as much; what it gives back beyond that, or of what it was never told, is ignored.",
  from: "volume/lookups.ts",
  names: ["A"],
  fresh: true,
  idleMax: 0,
  actors: {
    *server(inodes, self) {
      const many = 2 ** 30;
      const a = (yield* inodes.find(self, "A"))!;
      const known = (first: boolean, second: boolean): void => {
        const found = [inodes.isKnown(self, a, 0), inodes.isKnown(self, a, 1)];
        ensure(found[0] === first && found[1] === second, `the kernels' knowledge is ${found}`);
      };
      yield* inodes.forget(self, a);
      known(false, false);
      yield* inodes.tell(self, a.again(), 0);
      known(true, false);
      yield* inodes.tell(self, a.again(), 1);
      inodes.tellOften(self, a, many);
      yield* inodes.forget(self, a, 0, many);
      known(true, true);
      yield* inodes.forget(self, a, 0);
      known(false, true);
      yield* inodes.forget(self, a, 1, 2);
      known(false, false);
      yield* inodes.tell(self, a.again(), 1);
      yield* inodes.tell(self, a.again(), 1);
      yield* inodes.endServing(self, 0);
      yield* inodes.forget(self, a, 1);
      known(false, true);
      yield* inodes.forget(self, a, 1);
      known(false, false);
      yield* inodes.tell(self, a);
      ensure(inodes.count(self).records === 1, "the kernel knows A, which has no record");
      yield* inodes.forget(self, a);
      ensure(inodes.count(self).records === 0, "nobody knows A, which has a record");
      yield* inodes.forget(self, a);
    },
  },
});

export const inodeOpensCounted = inodeStory({
  name: "inode-opens-counted",
  about:
    "Programs open a file through two kernels, to read it and to write. It is open until all have closed it, or the " +
    "kernels know it no more; what no kernel knows is not.",
  from: "volume/kernel-lookups.ts, countOpen",
  names: ["A", "B"],
  fresh: ["B"],
  actors: {
    *server(inodes, self) {
      const { table, lookups } = inodes.user(self);
      const [first, second] = [lookups[0]!, lookups[1]!];
      const a = (yield* inodes.find(self, "A"))!;
      const open = (toRead: boolean, toWrite: boolean): void => {
        const found = opensOf(table, a.mapping);
        ensure(found[0] === toRead && found[1] === toWrite, `A is open: ${found}`);
      };
      first.countOpen(a.ino, true, 1);
      first.countOpen((a.ino + 1) as Ino, true, 1);
      open(false, false);
      yield* inodes.tell(self, a.again(), 0);
      yield* inodes.tell(self, a.again(), 1);
      open(false, false);
      first.countOpen(a.ino, false, 1);
      open(true, false);
      second.countOpen(a.ino, true, 1);
      open(true, true);
      first.countOpen(a.ino, false, -1);
      open(true, true);
      first.countOpen(a.ino, true, 1);
      second.countOpen(a.ino, true, -1);
      open(true, true);
      yield* inodes.forget(self, a, 0);
      open(false, false);
      yield* inodes.forget(self, a, 1);
      yield* inodes.tell(self, a.again(), 0);
      open(false, false);
      yield* inodes.forget(self, a, 0);
      yield* inodes.close(self, a);
    },
  },
});

export const inodeLookupsLenderDies = inodeStory({
  name: "inode-lookups-lender-dies",
  about:
    "A thread dies that serves the kernel, at any point. What it has lent is given back once: by who gives back the " +
    "last lookup, or by who finds it dead.",
  from: "volume/lookups.ts, rule 3",
  names: ["A"],
  actors: {
    first: serve,
    *second(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      const again = reference!.again();
      yield* inodes.tell(self, reference!);
      yield* inodes.forget(self, again);
      inodes.use(self, again);
      yield* inodes.close(self, again);
    },
    finder: reapAndSettle,
  },
  environment: { kill: { kill: "first" } },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const inodeLookupsAfterLender = inodeStory({
  name: "inode-lookups-after-lender",
  about:
    "A thread dies that has told the kernel of two files. Who finds it dead finds nothing left of that; what is told " +
    "from then on keeps the file, and so does what he himself has told another kernel.",
  from: "volume/lookups.ts, rule 3",
  names: ["A", "B"],
  actors: {
    *first(inodes, self) {
      for (const name of ["A", "B"]) {
        const reference = yield* inodes.find(self, name);
        if (reference !== null) yield* inodes.tell(self, reference);
      }
      yield* inodes.endServing(self);
    },
    *second(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      if (reference === null) return;
      yield* inodes.tell(self, reference.again(), 1);
      if (!isDead(inodes.actors[0]!.thread)) {
        yield* inodes.close(self, reference);
      } else {
        self.thread.reap();
        ensure(inodes.isKnown(self, reference, 1), "the other kernel has lost what it was told");
        ensure(
          !inodes.isKnown(self, reference),
          "something is left of what a dead thread has told",
        );
        yield* inodes.tell(self, reference);
        inodes.use(self, reference);
        yield* inodes.forget(self, reference);
      }
      inodes.use(self, reference);
      yield* inodes.forget(self, reference, 1);
    },
    unlink: (inodes, self) => inodes.unlink(self, "A"),
  },
  environment: { kill: { kill: "first" } },
  explore: { strategy: "pct", depth: 3, schedules: 3000 },
});

export const inodeLookupsForgetterDies = inodeStory({
  name: "inode-lookups-forgetter-dies",
  about:
    "A thread dies while it gives back the last lookup of a file. The lender has its record back and uses it for " +
    "another file; what it tells the kernel of the first one then keeps that as it should.",
  from: "volume/lookups.ts, rule 2",
  names: ["A", "B"],
  actors: {
    *lender(inodes, self) {
      const [a, b] = [(yield* inodes.find(self, "A"))!, (yield* inodes.find(self, "B"))!];
      yield* inodes.tell(self, a.again());
      // Looks which of its records were given back.
      inodes.note(self, b);
      const again = b.again();
      if (isDead(inodes.actors[1]!.thread)) {
        yield* inodes.tell(self, a);
        yield* inodes.unlink(self, "A");
        inodes.use(self, a);
      } else {
        yield* inodes.close(self, a);
      }
      yield* inodes.close(self, b);
      yield* inodes.close(self, again);
    },
    forgetter: (inodes, self) => inodes.forget(self, { ino: inodes.shared.inos.get("A")! }),
  },
  environment: { kill: { kill: "forgetter" } },
  explore: { strategy: "bounded", preemptions: 2 },
});

export const inodeLookupsFoundLate = inodeStory({
  name: "inode-lookups-found-late",
  about:
    "A thread has told the kernel of a file and is dead. While it is found so, the kernel gives back what it was told, " +
    "and with that the reference that was lent.",
  from: "volume/lookups.ts, rule 3",
  names: ["A"],
  explore: { strategy: "bounded", preemptions: 2 },
  actors: {
    *lender(inodes, self) {
      const reference = yield* inodes.find(self, "A");
      yield* inodes.tell(self, reference!);
      endThread(self.thread);
    },
    forgetter: forget,
    finder: reapAndSettle,
  },
});
