// Every way to leave a block that has something to dispose of. Loaded by the linker, never as it is.
import { add } from "../../../dist/checked/sync/atomics.js";

/** Its name and, when it is disposed of, its name again with how many were before. */
function open(words, log, name) {
  log.push(`open ${name}`);
  return {
    name,
    [Symbol.dispose]() {
      log.push(`close ${name} ${add(words, 0, 1)}`);
    },
  };
}

const nobody = { name: "nobody", [Symbol.dispose]() {} };

export const cases = {
  normally(words, log) {
    {
      using a = open(words, log, "a");
      using b = open(words, log, `b after ${a.name}`);
      log.push(`in ${b.name}`);
    }
    log.push("after");
  },

  "two of one statement"(words, log) {
    using a = open(words, log, "a"),
      b = open(words, log, "b");
    log.push(`in ${a.name} ${b.name}`);
  },

  "by return"(words, log) {
    using _a = open(words, log, "a");
    {
      using _b = open(words, log, "b");
      return add(words, 0, 10);
    }
  },

  "by throw"(words, log) {
    try {
      using _a = open(words, log, "a");
      if (add(words, 0, 5) === 0) throw new Error("thrown");
      log.push("never");
    } catch (error) {
      log.push(error.message);
    }
  },

  "before the second is there"(words, log) {
    try {
      using _a = open(words, log, "a");
      using _b = (() => {
        throw new Error("no b");
      })();
    } catch (error) {
      log.push(error.message);
    }
  },

  "by break and continue"(words, log) {
    for (let round = 0; ; round++) {
      using _a = open(words, log, round);
      if (round === 0) continue;
      if (round === 2) break;
      log.push(`rest of ${round}`);
    }
    outer: for (const x of ["x", "y"]) {
      using _x = open(words, log, x);
      for (const y of [1, 2]) {
        using _y = open(words, log, y);
        if (x === "x") continue outer;
        if (y === 2) break outer;
      }
    }
  },

  "what is null"(words, log) {
    using _none = null;
    using _undefined = undefined;
    using _nobody = nobody;
    using _a = open(words, log, "a");
  },

  "in callbacks"(words, log) {
    return [1, 2].map((value) => {
      using _a = open(words, log, value);
      return add(words, 0, 10);
    });
  },
};
