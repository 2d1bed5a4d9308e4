/** Variants of making a volume larger: a size is seen too early or too late, or by one thread too many. */
import { variant } from "../variant.ts";

const SIZE = "drivers/ext/resize/volume-size.ts";
const STEPS = "volume/grow-steps.ts";

export const sizeSeenEarly = variant({
  name: "size-seen-before-commit",
  about:
    "Who looks how large the volume is takes what he finds while a transaction gives it another size: that may still be " +
    "undone, and what he has read of the new groups is wrong when they are made otherwise.",
  from: "our own driver, before grow-undone found it; drivers/ext/resize/volume-size.ts, rule 1",
  edits: [
    {
      file: SIZE,
      find: "const found = tryReadStable(words, sequence, read);",
      replace: "const found = read();",
    },
  ],
  caughtBy: { "grow-undone": "check" },
});

export const sizeToldEarly = variant({
  name: "size-told-before-it-changes",
  about:
    "That the volume has another size is told in one step, before the transaction has changed it: who looks in between " +
    "finds the old size, and takes it for the new one from then on.",
  from: "drivers/ext/resize/volume-size.ts, rule 1",
  edits: [
    {
      file: SIZE,
      find: "transaction.beginLayoutChange(this.#area + Area.sequence);",
      replace:
        "const sequence = this.#area + Area.sequence;\n" +
        "        transaction.setWord(sequence, transaction.getWord(sequence) + 2);",
    },
  ],
  caughtBy: { "grow-beside-allocator": "check" },
});

export const growerGoesAhead = variant({
  name: "grower-goes-ahead",
  about:
    "Who begins to make a volume larger after the death of one who did so looks at it at once, and not when what that " +
    "one's transaction has done is undone, or is there for all to see.",
  from: "drivers/ext/resize/volume-size.ts, rule 3",
  edits: [
    {
      file: STEPS,
      find: "using _unchanged = yield* takeTransaction(task, cache);\n    return growth.begin(size);",
      replace: "return growth.begin(size);",
    },
  ],
  caughtBy: { "grow-dies": "check" },
});

export const claimKept = variant({
  name: "grower-keeps-its-claim",
  about:
    "Where the device has no room for a growth, the thread goes on to count as the one who makes the volume larger: " +
    "nobody else can, as long as it lives.",
  from: "volume/grow-steps.ts",
  edits: [
    {
      file: STEPS,
      find: "        run[Symbol.dispose]();\n        throw error;",
      replace: "        throw error;",
    },
  ],
  caughtBy: { "grow-without-room": "leak" },
});

export const growersTogether = variant({
  name: "growers-together",
  about:
    "Who makes a volume larger is noted and not looked at: two threads store to the same new blocks, and one takes " +
    "another step than the volume that it has looked at.",
  from: "drivers/ext/resize/volume-size.ts, rule 2",
  edits: [
    {
      file: SIZE,
      find: "if (other !== 0 && thread.isAlive(other)) {",
      replace: "if (other === thread.holder) {",
    },
  ],
  caughtBy: { "grow-by-two": "check" },
});
