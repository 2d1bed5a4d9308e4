/** The journal where something ends: the room in it, the storage, its use; and what its calls tell. */
import { HoldfastError } from "../../../base/errors.ts";
import { Commit, type Journal } from "../../../metadata/journal.ts";
import { isAllPersistent, type Transaction } from "../../../metadata/transaction.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, type Self } from "../../scenario.ts";
import { codeOf, type JournaledMetadata } from "../../world/journal.ts";
import { journalStory } from "./journal-play.ts";

const NODE = 3;
const OTHER = 4;
const MADE = 5;

const raise = (journaled: JournaledMetadata, self: Self): Sleeps<number> => journaled.raised(self);

/** Raises the pair and commits, which fails where persists do: then the journal is given up. */
function* raiseAndCommit(journaled: JournaledMetadata, self: Self): Sleeps<string> {
  return yield* codeOf(() => journaled.raiseAndCommit(self));
}

export const journalPersistFails = journalStory(
  {},
  {
    name: "journal-persist-fails",
    about:
      "Of two threads that change blocks and commit one meets an I/O error. It tells so, and the journal is given " +
      "up: the other one is promised what is on the medium by its own persists, or told that the volume is " +
      "read-only now. Nothing is promised after that.",
    from: "metadata/journal.ts, abort",
    prepare: (journaled) => journaled.medium.failFor(journaled.actors[0]!.thread),
    explore: { strategy: "bounded", preemptions: 1 },
    actors: {
      *failing(journaled, self) {
        const code = yield* raiseAndCommit(journaled, self);
        ensure(code === "EIO" || code === "EROFS" || code === "", `a commit fails with ${code}`);
        const isGivenUp = journaled.journal(self).isAborted;
        ensure(isGivenUp === (code !== ""), `the commit's code is "${code}"`);
        ensure(
          !isGivenUp || journaled.noted().givenUp,
          "the log does not tell that it is given up",
        );
        if (!isGivenUp) return;
        const again = yield* raiseAndCommit(journaled, self);
        ensure(again === "EROFS", `a commit of a journal that was given up ends with "${again}"`);
        const changed = yield* codeOf(() => journaled.edited(self, NODE, 703));
        ensure(
          changed === "EROFS",
          `a change where the journal was given up ends with "${changed}"`,
        );
      },
      *other(journaled, self) {
        const code = yield* raiseAndCommit(journaled, self);
        ensure(code === "" || code === "EROFS", `a commit ends with ${code}`);
      },
    },
  },
);

export const journalGivenUpBeside = journalStory(
  {},
  {
    name: "journal-given-up-beside",
    about:
      "A thread gives the journal up while another one commits, in a log that is nearly full, so that its beginning " +
      "moves. Both are noted in one place: that it is given up stays noted.",
    from: "metadata/journal.ts, abort",
    explore: { strategy: "bounded", preemptions: 1 },
    actors: {
      *writer(journaled, self) {
        for (let turn = 0; turn < 3; turn++) {
          const code = yield* raiseAndCommit(journaled, self);
          ensure(code === "" || code === "EROFS", `a commit ends with ${code}`);
        }
      },
      *other(journaled, self) {
        journaled.journal(self).abort(); // without a lock, as who finds that the medium fails
      },
    },
  },
);

/** Makes a block metadata that is nobody's, as soon as that is durable. */
function makeFree(
  journaled: JournaledMetadata,
  self: Self,
  freed: number,
  transaction: Transaction,
): void {
  self.say("looks for a free block");
  if (!journaled.journal(self).isDurable(freed))
    throw new HoldfastError("ENOSPC", "no block is free");
  journaled.giveToFile(transaction, NODE, 800);
}

/** Frees the node; gives its block to a file. */
function* freeAndUse(journaled: JournaledMetadata, self: Self): Sleeps<string> {
  let freed = 0;
  yield* journaled.operate(self, (transaction) => {
    journaled.free(transaction, NODE);
    freed = journaled.journal(self).runningSequence;
  });
  return yield* codeOf(function* () {
    const used = yield* journaled.operate(self, (transaction) => {
      journaled.edit(self, transaction, OTHER, 700);
      makeFree(journaled, self, freed, transaction);
    });
    yield* journaled.commit(self, used);
  });
}

export const journalRoomWhenDurable = journalStory(
  { cached: [OTHER] },
  {
    name: "journal-room-when-durable",
    about:
      "A thread frees a block and needs one: there is none until what freed it is durable. So that is committed, " +
      "and the operation tried once more; what its first try has changed is undone. Another thread commits and " +
      "changes blocks meanwhile.",
    from: "metadata/transaction.ts, transact",
    explore: { strategy: "bounded", preemptions: 1 },
    actors: {
      *user(journaled, self) {
        const code = yield* freeAndUse(journaled, self);
        ensure(code === "", `no block is found: ${code}`);
      },
      other: [(journaled, self) => journaled.journal(self).commit(self.task), raise],
    },
  },
);

export const journalNoRoom = journalStory(
  { cached: [OTHER] },
  {
    name: "journal-no-room",
    about:
      "An operation finds no space. It is tried again only when a commit may have made some: not when all is on " +
      "the medium, and once at most; and not when it fails for another reason.",
    from: "metadata/transaction.ts, transact",
    actors: {
      *user(journaled, self) {
        const tries: number[] = [];
        const hasTried = (times: number): boolean => tries.length === times;
        const fail = (error: Error): never => {
          tries.push(1);
          throw error;
        };
        const failing = (code: "ENOSPC" | "EIO") => (): Sleeps<number> =>
          journaled.operate(self, () => fail(new HoldfastError(code, "the operation fails")));
        ensure((yield* codeOf(failing("ENOSPC"))) === "ENOSPC", "there is space");
        ensure(hasTried(1), `it is tried ${tries.length} times where nothing was changed`);
        yield* journaled.edited(self, OTHER, 700);
        ensure((yield* codeOf(failing("EIO"))) === "EIO", "it does not fail");
        ensure(hasTried(2), "what failed for another reason is tried again");
        ensure(!isAllPersistent(self.thread), "what was changed counts as persistent");
        ensure((yield* codeOf(failing("ENOSPC"))) === "ENOSPC", "there is space");
        ensure(hasTried(4), `it is tried ${tries.length - 2} times where something was changed`);
        ensure(isAllPersistent(self.thread), "what was committed does not count as persistent");
        // Nor when the system has no space, for files of its own.
        yield* journaled.edited(self, OTHER, 700);
        const unlike = Object.assign(new Error("no space"), { code: "ENOSPC" });
        try {
          yield* journaled.operate(self, () => fail(unlike));
        } catch (error) {
          if (error !== unlike) throw error;
        }
        ensure(hasTried(5), "what fails with an error of the system is tried again");
        // Without a journal no commit makes any.
        const cache = journaled.metadata.cache(self);
        yield* journaled.edited(self, OTHER, 700);
        const { journal } = cache;
        cache.journal = null;
        const alone = yield* codeOf(failing("ENOSPC"));
        cache.journal = journal;
        ensure(alone === "ENOSPC" && hasTried(6), "it is tried again without a journal");
      },
    },
  },
);

export const journalTooManyBlocks = journalStory(
  { cached: [OTHER, MADE, 6] },
  {
    name: "journal-too-many-blocks",
    about:
      "An operation that changes more blocks than the journal takes at once is refused, and undone. One that " +
      "changes as many as it takes is not; nor does a block count twice.",
    from: "metadata/journal.ts, join: EOVERFLOW",
    actors: {
      *user(journaled, self) {
        const change = (blocks: readonly number[]) => (): Sleeps<number> =>
          journaled.operate(self, (transaction) => {
            for (const block of blocks) journaled.edit(self, transaction, block, 700 + block);
          });
        ensure(
          (yield* codeOf(change([3, 4, 5, 6]))) === "EOVERFLOW",
          "too many blocks are changed",
        );
        ensure((yield* codeOf(change([3, 4, 5]))) === "", "so many blocks cannot be changed");
        const { journal } = journaled.metadata.cache(self);
        ensure(journal!.isCrowded, "a full transaction is not crowded");
        ensure((yield* codeOf(change([3, 4, 6]))) === "", "the journal makes no room");
        ensure(journal!.isDurable(1), "the full transaction was not committed");
        yield* journaled.commit(self, 2);
        ensure(!journal!.isCrowded, "an empty transaction is crowded");
      },
    },
  },
);

const isRunning = (journal: Journal, sequence: number): boolean =>
  journal.runningSequence === sequence;

export const journalSteps = journalStory(
  {},
  {
    name: "journal-steps",
    about:
      "What is asked of whoever commits, step by step: two persists for what has changed, none for nothing. The " +
      "journal tells what is durable.",
    from: "metadata/journal.ts, Commit.step",
    actors: {
      *user(journaled, self) {
        const journal = journaled.journal(self);
        const device = journal.cache.device;
        const none = new Commit(journal);
        ensure(
          !(yield* none.step(self.task)),
          "nothing has changed, and the device is to be persisted",
        );
        ensure(journal.isDurable(0) && !journal.isDurable(1), "what never ran is durable");
        const operation = yield* journaled.raised(self);
        ensure(isRunning(journal, 1) && !journal.isDurable(1), "what runs is durable");
        const commit = new Commit(journal);
        ensure(yield* commit.step(self.task), "what was sealed need not be persisted");
        ensure(isRunning(journal, 2), "a sealed transaction runs");
        ensure(
          !journal.committing!.isRecorded,
          "the record is written before the blocks are there",
        );
        // Another one that comes now waits for what is on its way, and persists for itself.
        const other = new Commit(journal);
        ensure(yield* other.step(self.task), "what another one has sealed counts as durable");
        device.persistAll();
        ensure(yield* commit.step(self.task), "the record need not be persisted");
        ensure(journal.committing!.isRecorded, "the record is not written");
        ensure(yield* other.step(self.task), "a record that was written after the persist counts");
        device.persistAll();
        ensure(!(yield* commit.step(self.task)), "more than two persists are asked for");
        ensure(journal.committing === null && journal.isDurable(1), "what is durable is not");
        ensure(!(yield* other.step(self.task)), "who waits for what is durable goes on");
        yield* journaled.commit(self, operation);
      },
    },
  },
);

/** What an unmount does once all is committed. */
function* endJournal(journaled: JournaledMetadata, self: Self): Sleeps<void> {
  const journal = journaled.journal(self);
  const { cache } = journal;
  yield* journaled.metadata.undone(self, () => cache.flush());
  cache.device.persistAll();
  yield* journaled.metadata.undone(self, () => journal.end());
  cache.device.persistAll();
}

export const journalIsEnded = journalStory(
  { cached: [OTHER] },
  {
    name: "journal-is-ended",
    about:
      "A volume is unmounted: all is committed, goes home, and the journal says that its log is empty. From then " +
      "on changes join no transaction; nor do they before the journal begins.",
    from: "metadata/journal.ts, end; volume/sync.ts, Conclusion",
    actors: {
      *user(journaled, self) {
        const journal = journaled.journal(self);
        ensure(journal.isLive && !journal.isAborted, "a journal that was started is not live");
        yield* journaled.raiseAndCommit(self);
        yield* journaled.commit(self, yield* journaled.edited(self, OTHER, 700));
        ensure(journaled.noted().at !== 0, "the log is empty, as it says");
        yield* endJournal(journaled, self);
        ensure(!journal.isLive, "a journal that was ended is live");
        ensure(journaled.noted().at === 0, "the log is not empty, as it says");
        journaled.assertSurvives("when the journal is ended");
        journal.abort();
        ensure(!journal.isAborted, "a journal that has ended is given up");
        yield* journal.makeRoom(self.task);
        ensure(!journal.isCrowded && !journal.hasChanges, "something has joined");
      },
    },
  },
);

/** Takes the device away while something is done. */
function* withoutDevice(
  journaled: JournaledMetadata,
  operation: () => Sleeps<unknown>,
): Sleeps<string> {
  journaled.metadata.removeDevice();
  const code = yield* codeOf(operation);
  journaled.metadata.putBack();
  return code;
}

export const journalWithoutDevice = journalStory(
  { removable: true },
  {
    name: "journal-without-device",
    about:
      "A device is removed: nothing is committed any more, and who changes something is told so. A journal that " +
      "is not used any more does not ask for it.",
    from: "metadata/journal.ts: EIO when the device is gone",
    actors: {
      *user(journaled, self) {
        const journal = journaled.journal(self);
        yield* journaled.edited(self, NODE, 703);
        const committed = yield* withoutDevice(journaled, () => journal.commit(self.task));
        ensure(committed === "EIO", `a commit without a device ends with "${committed}"`);
        const changed = yield* withoutDevice(journaled, () => journaled.edited(self, NODE, 704));
        ensure(changed === "EIO", `a change without a device ends with "${changed}"`);
        yield* journal.commit(self.task);
        yield* endJournal(journaled, self);
        const after = yield* withoutDevice(journaled, () => journal.makeRoom(self.task));
        ensure(after === "", `room is asked for in a journal that has ended: ${after}`);
      },
    },
  },
);

export const journalStepDies = journalStory(
  {},
  {
    name: "journal-step-dies",
    about:
      "A thread dies at any point of the steps that make a change durable, in a log that is nearly full, so " +
      "that its beginning moves. Another one is asked for no less than it would be, and goes on.",
    from: "metadata/journal.ts, rules 1 and 2",
    explore: { strategy: "bounded", preemptions: 1 },
    actors: {
      *dying(journaled, self) {
        for (let turn = 0; turn < 3; turn++) yield* journaled.raiseAndCommit(self);
      },
      *other(journaled, self) {
        yield* journaled.raiseAndCommit(self);
      },
    },
    environment: { death: { kill: "dying" } },
  },
);
