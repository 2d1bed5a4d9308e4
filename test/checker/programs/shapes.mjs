// Shapes of code with shared accesses. They run twice: as they are, over real atomics, and through the
// linker; both must do the same. Each case gets eight words and a log to tell what it did and when.
import {
  add,
  addThenStore,
  cas,
  casThenStore,
  exchange,
  load,
  store,
} from "../../../dist/checked/sync/atomics.js";

/** Tells, and is the value. */
function told(log, what, value) {
  log.push(what);
  return value;
}

function bump(words, word) {
  return add(words, word, 1) + 1;
}

function failing(words) {
  bump(words, 0);
  throw new Error("as planned");
}

/** Its `find` is called as an array's. */
class Shelf {
  #words;
  none;

  constructor(words) {
    this.#words = words;
    this.none = [1, 2].find((value) => load(words, 0) === value + 100);
  }

  find(wanted) {
    for (let word = 0; word < 4; word++) {
      if (wanted(word)) return add(this.#words, word, 1) + word;
    }
    return -1;
  }
}

/** Tells what was given to it, which is no method of any class. */
class Teller {
  #onTold;

  constructor(onTold) {
    this.#onTold = onTold;
  }

  tell(by) {
    this.#onTold(by);
    return by;
  }
}

class Counter {
  #word;
  static made = 0;
  label = "counter";

  constructor(words, word) {
    this.words = words;
    this.#word = word;
    store(words, word, load(words, word) + 10);
    Counter.made++;
  }

  get value() {
    return load(this.words, this.#word);
  }

  next() {
    return this.#step(1);
  }

  #step(by) {
    return add(this.words, this.#word, by) + by;
  }

  static #twice(counter) {
    return counter.next() + counter.next();
  }

  static run(counter) {
    return Counter.#twice(counter);
  }

  each(values) {
    return values.map((value) => this.#step(value));
  }

  later() {
    return () => () => this.next();
  }

  [Symbol.dispose]() {
    this.next();
  }
}

class Louder extends Counter {
  next() {
    return super.next() * 100;
  }
}

function* inner(words, log) {
  try {
    log.push(`inner ${bump(words, 0)}`);
    return bump(words, 1);
  } finally {
    log.push(`inner ends ${bump(words, 2)}`);
  }
}

function* outer(words, log) {
  const first = yield* inner(words, log);
  return first + (yield* inner(words, log));
}

const byArrow = (words) => (load(words, 0) === 0 ? bump(words, 0) : -1);

export const cases = {
  "arguments before the access"(words, log) {
    store(words, told(log, "word", 1), told(log, "value", 5));
    return load(words, told(log, "word again", 1));
  },

  "accesses in arguments of accesses"(words) {
    store(words, add(words, 0, 2), exchange(words, 1, 7));
    store(words, load(words, 0), add(words, add(words, 1, 1) - 5, 1));
    return cas(words, load(words, 0), load(words, 2), bump(words, 3));
  },

  "an argument that a later one changes"(words) {
    let at = 1;
    store(words, at, at++ + 10);
    // biome-ignore lint/suspicious/noAssignInExpressions: that is the case.
    store(words, at, (at = 5));
    const place = { word: 3 };
    store(words, place.word, place.word++);
    return [at, place.word];
  },

  "the memory as an argument"(words, log) {
    const which = () => told(log, "memory", words);
    store(which(), told(log, "word", 1), told(log, "value", 2));
    return load(which(), told(log, "word", 1));
  },

  composites(words, log) {
    const before = addThenStore(words, told(log, "word", 0), 3, told(log, "note", 1), 9);
    const took = casThenStore(words, 0, told(log, "expected", 3), 4, 2, told(log, "value", 8));
    return [before, took, casThenStore(words, 0, 3, 5, 2, 1)];
  },

  "and, or, ??, ?: and assignments"(words, log) {
    let sum = 1;
    // biome-ignore lint/suspicious/noAssignInExpressions: that is the case.
    sum += bump(words, 0) + (sum *= 2);
    const none = null;
    const some = none ?? bump(words, 1);
    const not = load(words, 5) !== 0 && told(log, "never", bump(words, 2));
    const either = load(words, 5) || bump(words, 3);
    let late;
    late ??= bump(words, 4);
    late ||= told(log, "never", bump(words, 4));
    return [sum, some, not, either, late, sum > 3 ? bump(words, 6) : bump(words, 7)];
  },

  "templates, spreads, literals and keys"(words) {
    const list = [bump(words, 0), ...[bump(words, 0), bump(words, 0)]];
    const made = {
      [`k${bump(words, 1)}`]: bump(words, 1),
      list,
      bump,
      ...{ last: bump(words, 1) },
    };
    const { k1, last = bump(words, 2) } = made;
    const [a, b = bump(words, 2)] = [bump(words, 3)];
    return [`${bump(words, 4)} ${load(words, 4)}`, Object.keys(made), k1, last, a, b];
  },

  loops(words, log) {
    for (let at = bump(words, 0); at < 4 + load(words, 1); at += bump(words, 1)) log.push(at);
    while (load(words, 2) < 3) {
      if (bump(words, 2) === 2) continue;
      log.push(`while ${load(words, 2)}`);
    }
    do bump(words, 3);
    while (load(words, 3) < 2);
    rounds: for (const x of [bump(words, 4), bump(words, 4), 9]) {
      for (const y of [1, 2]) {
        if (x === 9) break rounds;
        if (bump(words, 5) === y) continue rounds;
        log.push(`${x} ${y}`);
      }
    }
    for (const key in { [bump(words, 6)]: 1 }) log.push(key);
  },

  switch(words, log) {
    for (let round = 0; round < 4; round++) {
      switch (bump(words, 0)) {
        case load(words, 1) + 1:
          log.push("first");
          break;
        // biome-ignore lint/suspicious/noFallthroughSwitchClause: that is the case.
        case bump(words, 1) + 1:
          log.push("second");
        // falls through
        case 99:
          log.push("through");
          break;
        default:
          log.push(`default ${load(words, 1)}`);
      }
    }
  },

  "a method, a private one, a static one, a getter"(words) {
    const counter = new Counter(words, 0);
    const values = [counter.next(), counter.value, Counter.run(counter), counter.value];
    return [
      ...values,
      `${counter.value + counter.value}`,
      counter.label,
      new Louder(words, 1).next(),
    ];
  },

  "a method of the class below"(words) {
    const louder = new Louder(words, 2);
    return [louder.next(), Counter.run(louder), louder.each([1, 2]), louder.value];
  },

  "a function in a private field"(words) {
    const told = (by) => add(words, 2, by);
    return [new Teller(told).tell(3), load(words, 2)];
  },

  "arrow functions with this"(words) {
    const counter = new Counter(words, 0);
    return [counter.each([1, 2, 3]), counter.later()()(), byArrow(words)];
  },

  "object methods and getters"(words) {
    const object = {
      base: 2,
      get total() {
        return load(words, this.base);
      },
      up(by = 3) {
        return add(words, this.base, by) + this.total;
      },
      arrow: (by) => add(words, 0, by),
      async: 1,
    };
    return [object.up(), object.up(1), object.total, object.arrow(4), object.async];
  },

  "default and rest parameters"(words) {
    const f = (at = 1, { by = 2 } = {}, ...rest) => add(words, at, by) + rest.length;
    return [f(), f(2, { by: 5 }), f(2, undefined, 1, 2), load(words, 1), load(words, 2)];
  },

  "callbacks of arrays"(words, log) {
    const list = [1, 2, 3, 4];
    list.forEach((value, index) => {
      log.push(`${value} ${index} ${bump(words, 0)}`);
    });
    return [
      list.every((value) => add(words, 1, 1) < 2 && value < 9),
      load(words, 1),
      list.some((value) => add(words, 2, value) >= 3),
      load(words, 2),
      list.map((value, index) => value * bump(words, 3) + index),
      list.filter((value) => (value + bump(words, 4)) % 3 === 0),
      list.find((value) => bump(words, 5) === value + 1),
      list.find((value) => bump(words, 5) === value),
      list.flatMap((value) => [value, bump(words, 6)]),
      [].every(() => bump(words, 7)),
    ];
  },

  "a member that arrays have, too"(words) {
    const shelf = new Shelf(words);
    const isThird = (value) => bump(words, 1) === 3 && value === 3;
    return [
      shelf.find((word) => load(words, word) === 0),
      [1, 2, 3, 4].find((value) => bump(words, 0) === 3 && value === 3),
      [1, 2, 3, 4].find(isThird),
      shelf.none,
    ];
  },

  "functions as values"(words, log) {
    const visit = (what, f) => log.push(`${what} ${f(words, 0)}`);
    visit("named", bump);
    visit("arrow", (memory, word) => bump(memory, word));
    visit("plain", () => "nothing");
    const made = () => bump;
    return made()(words, 1);
  },

  "optional calls"(words) {
    const none = undefined;
    const object = { f: (by) => add(words, 0, by), inner: { g: () => bump(words, 1) } };
    return [
      none?.(bump(words, 2)),
      none?.f(bump(words, 2)),
      object.f?.(4),
      object?.f(1),
      object?.missing?.(bump(words, 2)),
      object.inner?.g(),
      load(words, 2),
    ];
  },

  "optional getters"(words) {
    class Counter {
      get counted() {
        return add(words, 0, 1) + 1;
      }
    }
    const find = (any) => (any ? new Counter() : null);
    return [find(false)?.counted, find(true)?.counted, find(true)?.counted ? 1 : 0, load(words, 0)];
  },

  "callbacks alone"(words) {
    const all = (list) => list.every((value) => add(words, value, 1) >= 0);
    const last = (list) => list.find((value) => bump(words, value) === 2);
    return [all([1, 2]), last([0, 1])];
  },

  "try, catch and finally"(words, log) {
    const attempt = (fails) => {
      try {
        bump(words, 1);
        return fails ? failing(words) : "fine";
      } catch (error) {
        log.push(`${error.message} ${bump(words, 2)}`);
        return "caught";
      } finally {
        log.push(`finally ${bump(words, 3)}`);
      }
    };
    const overridden = () => {
      for (;;) {
        try {
          return failing(words);
        } catch {
          break;
        } finally {
          bump(words, 4);
        }
      }
      return "after";
    };
    return [attempt(false), attempt(true), overridden()];
  },

  "an error that leaves everything"(words, log) {
    try {
      failing(words);
    } finally {
      log.push(`on the way ${bump(words, 1)}`);
    }
  },

  "generators in generators"(words, log) {
    const run = outer(words, log);
    let step = run.next?.();
    // As it is, the generator has to be gone through; through the linker the call has done that.
    while (step !== undefined && !step.done) step = run.next();
    return step === undefined ? run : step.value;
  },

  recursion(words) {
    const down = (depth) => (depth === 0 ? bump(words, 0) : down(depth - 1) + down(depth - 1));
    return down(4);
  },
};
