// Scenarios with a known bug each. Loaded by the linker, never as they are.
import { ensure } from "../../../dist/checked/checker/scenario.js";
import { regionWithThreads } from "../../../dist/checked/checker/world/threads.js";
import { add, cas, load, store, wakeAll } from "../../../dist/checked/sync/atomics.js";

/** Words of a canary, from its base on. */
const Word = { x: 0, y: 1, done: 2, aside: 3 };

function canary(name, about, actors, rest = {}) {
  return {
    name,
    about,
    from: "a textbook",
    build() {
      const { region } = regionWithThreads(Object.keys(actors).length);
      return { region, base: region.allocatePages(8) };
    },
    region: ({ region }) => region,
    begin: ({ region, base }) => ({
      words: region.words,
      x: base + Word.x,
      y: base + Word.y,
      done: base + Word.done,
      aside: base + Word.aside,
      increments: 0,
    }),
    actors,
    end() {},
    nameOf: (at, word) => (word === at.x ? "x" : word === at.y ? "y" : null),
    ...rest,
  };
}

/** Adds one, but not in one step. */
function increment(at) {
  at.increments++;
  store(at.words, at.x, load(at.words, at.x) + 1);
}

function allCounted({ words, x, increments }) {
  ensure(load(words, x) === increments, "an increment is lost");
}

export const lostUpdate = canary(
  "lost-update",
  "Two actors add one each.",
  { one: increment, two: increment },
  { end: allCounted },
);

export const unspeakable = canary("unspeakable", "An actor's name has a blank in it.", {
  "one of them": increment,
});

export const crowdedLostUpdate = canary(
  "crowded-lost-update",
  "As lost-update, among others who do not matter.",
  {
    reader(at) {
      load(at.words, at.x);
      add(at.words, at.aside, 1);
    },
    one: increment,
    writer(at) {
      add(at.words, at.aside, 1);
      add(at.words, at.aside, 1);
    },
    two: increment,
  },
  { end: allCounted },
);

/** x and y belong together; the writer changes them one after the other. */
export const tornPair = canary("torn-pair", "A pair is read while it is written.", {
  writer({ words, x, y }) {
    store(words, x, 1);
    store(words, y, 1);
  },
  reader({ words, x, y }) {
    const first = load(words, x);
    ensure(first === load(words, y), "the pair is torn");
  },
});

/** Seen only when the reader is interrupted twice by the same writer, or once each. */
export const threeTurns = canary("three-turns", "A value goes up and down again.", {
  writer({ words, x }) {
    store(words, x, 1);
    store(words, x, 2);
    store(words, x, 3);
  },
  reader({ words, x }) {
    const seen = [load(words, x), load(words, x), load(words, x)];
    ensure(seen.join() !== "0,1,3", "all was seen");
  },
});

/** Lost increments are forgiven when somebody saw what was left: who comes last often does. */
export const forgivenLostUpdate = canary(
  "forgiven-lost-update",
  "As lost-update, with one who looks at the count.",
  {
    one: increment,
    two: increment,
    witness({ words, x, y }) {
      if (load(words, x) === 1) store(words, y, 1);
    },
  },
  {
    end(at) {
      if (load(at.words, at.y) === 0) allCounted(at);
    },
  },
);

/** Some schedules are given up here, since others stand for them. */
export const sideBySide = canary("side-by-side", "Nothing is wrong.", {
  reader({ words, x }) {
    load(words, x);
  },
  adder({ words, y }) {
    add(words, y, 1);
  },
  writer({ words, x, y }) {
    store(words, x, 1);
    store(words, y, 1);
  },
});

function* lock(words, word, name) {
  while (!cas(words, word, 0, 1)) yield { word, expected: 1, what: () => `lock ${name}` };
}

function unlock(words, word) {
  store(words, word, 0);
  wakeAll(words, word);
}

export const oppositeLocks = canary("opposite-locks", "Two locks, taken in either order.", {
  *up({ words, x, y }) {
    yield* lock(words, x, "x");
    yield* lock(words, y, "y");
    unlock(words, y);
    unlock(words, x);
  },
  *down({ words, x, y }) {
    yield* lock(words, y, "y");
    yield* lock(words, x, "x");
    unlock(words, x);
    unlock(words, y);
  },
});

export const sound = canary("sound", "Two locks, taken in one order.", {
  *one({ words, x, y }) {
    yield* lock(words, x, "x");
    yield* lock(words, y, "y");
    unlock(words, y);
    unlock(words, x);
  },
  *two({ words, x, y }) {
    yield* lock(words, x, "x");
    yield* lock(words, y, "y");
    unlock(words, y);
    unlock(words, x);
  },
});

/** Beside the two that count, what they do before and after does not matter. */
const look = ({ words, y }) => load(words, y);
const touch = ({ words, y }) => add(words, y, 1);

export const busyLostUpdate = canary(
  "busy-lost-update",
  "As lost-update, by actors who do more than that.",
  { one: [touch, increment, look], two: [look, touch, increment], three: [look, touch] },
  { end: allCounted },
);

/** The wake comes before the store that it tells of. */
export const wakeTooEarly = canary("wake-too-early", "Who sleeps on x is woken, then x changes.", {
  *sleeper({ words, x }) {
    while (load(words, x) === 0) yield { word: x, expected: 0, what: () => "x" };
  },
  waker({ words, x }) {
    wakeAll(words, x);
    store(words, x, 1);
  },
});

/** The bell is a word that never changes: whoever comes to it too late is not woken. */
export const bellBeforeWait = canary("bell-before-wait", "A bell rings before anybody listens.", {
  *sleeper({ words, x, y }) {
    if (load(words, x) === 0) yield { word: y, expected: 0, what: () => "the bell" };
  },
  waker({ words, x, y }) {
    store(words, x, 1);
    wakeAll(words, y);
  },
});

/** Each wants the word for itself and takes it back, until the other one gives in. */
function wants(mine) {
  return ({ words, x, done }) => {
    while (load(words, done) === 0) {
      if (load(words, x) !== mine) store(words, x, mine);
    }
  };
}

export const undoing = canary("undoing", "Two actors undo each other's work for ever.", {
  one: wants(1),
  two: wants(2),
});
