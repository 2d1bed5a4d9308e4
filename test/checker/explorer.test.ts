// The explorer itself: how many schedules it runs, against numbers known beforehand; what it reaches,
// against an interpreter that shares nothing with it; and whether it finds bugs that are known.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Checked } from "../../src/checker/check.ts";
import { Door } from "../../src/checker/engine/door.ts";
import { Reduced } from "../../src/checker/engine/dpor.ts";
import { Explorer } from "../../src/checker/engine/explore.ts";
import type { Strategy } from "../../src/checker/engine/run.ts";
import { Beginnings, makeShares } from "../../src/checker/engine/shares.ts";
import { ScenarioStage } from "../../src/checker/engine/stage.ts";
import { Bounded } from "../../src/checker/engine/strategies.ts";
import { Linker } from "../../src/checker/instrument/linker.ts";
import { listScenarios } from "../../src/checker/registry.ts";
import type { Exploration, Scenario } from "../../src/checker/scenario.ts";
import type { Operation } from "./programs/machine.mjs";
import { reachableStates } from "./programs/oracle.ts";
import { MachineStage, type Program, playAll, playOn, playShared } from "./programs/playing.ts";

const every = () => new Bounded(Infinity);
const reduced = () => new Reduced();
/** What follows from a state, once. */
const cached = () => new Reduced(null, true);
const NO_LIMITS = { schedules: Infinity, seconds: Infinity, seed: 1, races: true };

/** (sum of lengths)! / product of (each length)!: how many ways there are to mix sequences. */
function mixesOf(lengths: readonly number[]): number {
  let mixes = 1;
  let placed = 0;
  for (const length of lengths) {
    for (let at = 1; at <= length; at++) mixes = (mixes * ++placed) / at;
  }
  return Math.round(mixes);
}

/** Actors with `accesses` each, of the word that `wordOf` gives for an actor. */
function adders(actors: number, accesses: number, wordOf: (actor: number) => number): Program {
  return {
    actors: Array.from({ length: actors }, (_, actor) =>
      Array.from({ length: accesses }, () => ({ kind: "add", word: wordOf(actor), value: 1 })),
    ),
  };
}

describe("numbers of schedules", () => {
  const SHAPES = [
    [2, 1],
    [2, 2],
    [2, 3],
    [2, 5],
    [3, 2],
    [3, 3],
    [4, 2],
  ] as const;

  for (const [actors, accesses] of SHAPES) {
    const mixes = mixesOf(new Array(actors).fill(accesses));
    it(`every: ${actors} actors with ${accesses} accesses each have ${mixes} schedules`, async () => {
      const program = adders(actors, accesses, () => 0);
      const { complete, redundant } = await playAll(program, every);
      expect({ complete, redundant }).toEqual({ complete: mixes, redundant: 0 });
      // Nothing commutes here, so nothing is left out either.
      expect((await playAll(program, reduced)).complete).toBe(mixes);
    });
  }

  /** Schedules in which at most `preemptions` times an actor with accesses left is interrupted. */
  function countBounded(left: readonly number[], current: number, preemptions: number): number {
    if (left.every((accesses) => accesses === 0)) return 1;
    let count = 0;
    for (const [actor, accesses] of left.entries()) {
      if (accesses === 0) continue;
      const interrupts = current >= 0 && actor !== current && left[current]! > 0;
      if (interrupts && preemptions === 0) continue;
      const rest = left.with(actor, accesses - 1);
      count += countBounded(rest, actor, preemptions - (interrupts ? 1 : 0));
    }
    return count;
  }

  for (const [actors, accesses] of SHAPES) {
    it(`bounded: ${actors} actors with ${accesses} accesses each, up to 4 preemptions`, async () => {
      const program = adders(actors, accesses, () => 0);
      for (let bound = 0; bound <= 4; bound++) {
        const { complete } = await playAll(program, () => new Bounded(bound));
        const expected = countBounded(new Array(actors).fill(accesses), -1, bound);
        expect(complete, `${bound} preemptions`).toBe(expected);
      }
    });
  }

  it("actors on words of their own have one schedule that matters", async () => {
    const door = new Door();
    // After this all three words count as contended, so that there is something to schedule.
    const all = [0, 1, 2].map((word) => ({ kind: "add", word, value: 1 }) as const);
    playOn(door, await MachineStage.build(door, { actors: [all, all] }), reduced);
    const stage = await MachineStage.build(
      door,
      adders(3, 3, (actor) => actor),
    );
    expect(playOn(door, stage, every).complete).toBe(mixesOf([3, 3, 3]));
    expect(playOn(door, stage, reduced)).toMatchObject({ complete: 1, redundant: 0 });
  });

  it("actors that only read have one schedule", async () => {
    const reads = new Array<Operation>(4).fill({ kind: "load", word: 0 });
    expect((await playAll({ actors: [reads, reads, reads] }, reduced)).complete).toBe(1);
  });

  it("reduced runs one schedule of all that differ only in what commutes", async () => {
    let redundant = 0;
    const property = fc.asyncProperty(programOf(accesses, SMALL), async (program) => {
      const played = await playAll(program, reduced);
      redundant += played.redundant;
      expect(played.complete).toBe(countTraces(program));
    });
    await fc.assert(property, { seed: 4, numRuns: 600 });
    expect(redundant).toBeGreaterThan(0);
  });

  it("figures tell redundant schedules apart", async () => {
    const program: Program = {
      actors: [
        [{ kind: "load", word: 0 }],
        [{ kind: "add", word: 1, value: 1 }],
        [
          { kind: "store", word: 0, value: 1 },
          { kind: "store", word: 1, value: 1 },
        ],
      ],
    };
    const played = await playAll(program, reduced);
    expect(played.redundant).toBeGreaterThan(0);
    const checked = await loadCanary("sideBySide");
    const report = await checked.check({ exploration: { strategy: "reduced" } });
    expect(report).toMatchObject({ complete: true, progress: 1, contendedWords: 2, story: null });
    expect(report.schedules).toBe(countTraces(program));
    expect(report.redundant).toBe(played.redundant);
  });
});

const word = fc.nat(2);

function operationOf(...kinds: readonly Operation["kind"][]): fc.Arbitrary<Operation> {
  const fields = { word, value: fc.nat(2), expected: fc.nat(1), note: word };
  return fc.record({ kind: fc.constantFrom(...kinds), ...fields }) as fc.Arbitrary<Operation>;
}

const accesses = operationOf("load", "store", "storeSeen", "storeOwn", "add", "exchange", "cas");
const branches = fc.oneof({ weight: 5, arbitrary: accesses }, operationOf("skipIf"));
const sleeps = operationOf("wait", "waitUntil", "poll", "wake", "wake", "load", "store");
/** All on one word, so that they meet. */
const meetings = operationOf("wait", "wake", "store", "load").map(
  (operation): Operation => ({ ...operation, word: 0, expected: 0 }) as Operation,
);
const everything = fc.oneof(
  { weight: 3, arbitrary: branches },
  { weight: 3, arbitrary: sleeps },
  { weight: 1, arbitrary: operationOf("addThenStore", "casThenStore") },
);

type Shapes = readonly (readonly [actors: number, operationsMax: number])[];
const SMALL: Shapes = [
  [2, 5],
  [3, 2],
  [3, 3],
];
/** With more ways to come to the same state. */
const LARGER: Shapes = [
  [2, 6],
  [3, 3],
  [3, 4],
  [4, 2],
];
/** With room for what the environment does. */
const SMALLER: Shapes = [
  [2, 4],
  [3, 2],
];

function programOf(operation: fc.Arbitrary<Operation>, shapes: Shapes): fc.Arbitrary<Program> {
  return fc.constantFrom(...shapes).chain(([actors, operationsMax]) => {
    const actor = fc.array(operation, { minLength: 1, maxLength: operationsMax });
    return fc.record({ actors: fc.array(actor, { minLength: actors, maxLength: actors }) });
  });
}

/** How many schedules there are of which no two differ only in the order of what commutes. */
function countTraces({ actors }: Program): number {
  const traces = new Set<string>();
  const at = actors.map(() => 0);
  const done: { actor: number; operation: Operation & { word: number } }[] = [];
  const visit = (): void => {
    let some = false;
    for (const [actor, operations] of actors.entries()) {
      const operation = operations[at[actor]!];
      if (operation === undefined) continue;
      some = true;
      at[actor]!++;
      done.push({ actor, operation: operation as Operation & { word: number } });
      visit();
      done.pop();
      at[actor]!--;
    }
    if (!some) traces.add(orderOf());
  };
  /** For each access, how many of every other actor it follows that it conflicts with. */
  const orderOf = (): string => {
    const told = actors.map(() => "");
    for (const [index, { actor, operation }] of done.entries()) {
      const before = actors.map(() => 0);
      for (const earlier of done.slice(0, index)) {
        const reads = operation.kind === "load" && earlier.operation.kind === "load";
        if (earlier.operation.word === operation.word && !reads) before[earlier.actor]!++;
      }
      told[actor] += `${before.join(",")};`;
    }
    return told.join("|");
  };
  visit();
  return traces.size;
}

describe("what is reached", () => {
  /** Both explorations end in exactly the states that the program can end in. */
  async function reachesAll(program: Program, warmUp = 0): Promise<void> {
    const expected = [...reachableStates(program)].sort();
    const few = await playAll(program, reduced, { warmUp });
    expect([...few.states].sort(), "reduced").toEqual(expected);
    const fewest = await playAll(program, cached, { warmUp });
    expect([...fewest.states].sort(), "cached").toEqual(expected);
    expect(fewest.complete).toBeLessThanOrEqual(few.complete);
    const full = await playAll(program, every, { warmUp });
    expect([...full.states].sort(), "every").toEqual(expected);
    expect(few.complete).toBeLessThanOrEqual(full.complete);
  }

  for (const [what, operation] of [
    ["accesses and branches", branches],
    ["sleeping and waking", fc.oneof(sleeps, meetings)],
    ["everything", everything],
  ] as const) {
    it(`the final states of generated programs: ${what}`, async () => {
      const property = fc.asyncProperty(
        programOf(operation, SMALL),
        fc.constantFrom(0, 20),
        reachesAll,
      );
      await fc.assert(property, { seed: 1, numRuns: 800 });
    });
  }

  for (const [what, operation] of [
    ["accesses and branches", branches],
    ["sleeping and waking", fc.oneof(sleeps, meetings)],
    ["everything", everything],
  ] as const) {
    it(`the final states of larger programs, each state explored once: ${what}`, async () => {
      const property = fc.asyncProperty(programOf(operation, LARGER), async (program) => {
        const { states } = await playAll(program, cached);
        expect([...states].sort()).toEqual([...reachableStates(program)].sort());
      });
      await fc.assert(property, { seed: 12, numRuns: 600 });
    });
  }

  // A sleeper for whom the word was right a moment ago was taken for one that had not slept yet. What
  // follows from going on at that moment had been explored from there only.
  it("what a sleeper waits for comes and goes", () =>
    reachesAll({
      actors: [
        [
          { kind: "poll", word: 0, expected: 0 },
          { kind: "wait", word: 0, expected: 0 },
        ],
        [
          { kind: "store", word: 0, value: 1 },
          { kind: "store", word: 0, value: 0 },
          { kind: "wait", word: 0, expected: 0 },
        ],
      ],
    }));

  // The actor whose access comes after a state was the only one to be tried before what the access
  // conflicts with. But it slept for ever unless another one came first.
  it("an access that comes after a state, if somebody else lets its actor go on", () =>
    reachesAll({
      actors: [
        [
          { kind: "storeSeen", word: 2 },
          { kind: "load", word: 0 },
        ],
        [
          { kind: "storeOwn", word: 2, value: 1 },
          { kind: "wait", word: 0, expected: 0 },
          { kind: "addThenStore", word: 0, note: 2 },
        ],
        [{ kind: "addThenStore", word: 0, note: 0 }],
      ],
    }));

  for (const act of ["kill", "abort"] as const) {
    it(`the final states of generated programs, with one actor to ${act}`, async () => {
      const operation = fc.oneof(everything, meetings);
      const programs = programOf(operation, SMALLER).chain(({ actors }) =>
        fc.record({
          actors: fc.constant(actors),
          environment: fc.record({ act: fc.constant(act), target: fc.nat(actors.length - 1) }),
        }),
      );
      const property = fc.asyncProperty(programs, (program) => reachesAll(program));
      await fc.assert(property, { seed: 1, numRuns: 400 });
    });
  }

  // Sleep sets left out all schedules in which the reader comes late to one word and early to the
  // other: the race that would have led there was looked for from the wrong actor.
  it("an actor between two others, each before it in one word and after it in the other", () =>
    inEveryOrder([
      [
        { kind: "storeOwn", word: 1, value: 1 },
        { kind: "load", word: 0 },
      ],
      [
        { kind: "load", word: 1 },
        { kind: "load", word: 0 },
      ],
      [{ kind: "storeSeen", word: 0 }],
    ]));

  // The second of two wakes of one sleeper was taken for what it waited for.
  it("a sleeper goes on by either of two wakes", () =>
    inEveryOrder([
      [{ kind: "wake", word: 0 }],
      [
        { kind: "wait", word: 0, expected: 0 },
        { kind: "load", word: 1 },
      ],
      [
        { kind: "store", word: 1, value: 1 },
        { kind: "wake", word: 0 },
      ],
    ]));

  it("a sleeper goes on by a wake, or by its abort", async () => {
    const sleeper: Operation[] = [
      { kind: "wait", word: 0, expected: 0 },
      { kind: "load", word: 1 },
    ];
    const waker: Operation[] = [
      { kind: "store", word: 1, value: 1 },
      { kind: "wake", word: 0 },
    ];
    const acts = { act: "abort" } as const;
    await reachesAll({ actors: [sleeper, waker], environment: { ...acts, target: 0 } });
    await reachesAll({ actors: [waker, sleeper], environment: { ...acts, target: 1 } });
  });

  // The environment never acted when its target could end without it; and a target without contended
  // accesses was over before anything began, so that what its recovery does was never seen.
  it("an actor is killed before each of its accesses, though they matter to nobody but its reaper", () =>
    reachesAll({
      actors: [
        [
          { kind: "store", word: 0, value: 1 },
          { kind: "store", word: 1, value: 1 },
        ],
        [{ kind: "wait", word: 2, expected: 0 }],
      ],
      environment: { act: "kill", target: 0 },
    }));

  // Each of two sleepers looked for the dead again and again while the other one recovered them.
  it("sleepers do not look for the dead without end while another one reaps", () =>
    reachesAll({
      actors: [
        [{ kind: "load", word: 0 }],
        [{ kind: "waitUntil", word: 0, expected: 0 }],
        [{ kind: "wait", word: 0, expected: 0 }],
      ],
      environment: { act: "kill", target: 0 },
    }));

  async function inEveryOrder([a, b, c]: Operation[][]): Promise<void> {
    const orders = [
      [a, b, c],
      [a, c, b],
      [b, a, c],
      [b, c, a],
      [c, a, b],
      [c, b, a],
    ];
    for (const actors of orders) await reachesAll({ actors: actors as Operation[][] });
  }
});

const STRATEGIES: readonly Exploration[] = [
  { strategy: "reduced" },
  { strategy: "every" },
  { strategy: "bounded", preemptions: 2 },
  { strategy: "pct", depth: 3, schedules: 5000 },
  { strategy: "random", schedules: 5000 },
];
const canaries = new URL("./programs/canaries.mjs", import.meta.url);

function loadCanary(name: string): Promise<Checked> {
  return Checked.load({ module: canaries, name });
}

describe("known bugs", () => {
  for (const [name, kind, message] of [
    ["lostUpdate", "check", "an increment is lost"],
    ["tornPair", "check", "the pair is torn"],
    ["oppositeLocks", "deadlock", /up waits for lock y.*down waits for lock x/],
    ["wakeTooEarly", "lost wake-up", /sleeper waits for x/],
    ["bellBeforeWait", "deadlock", /sleeper waits for the bell/],
    ["undoing", "livelock", /no progress/],
  ] as const) {
    const expected = { kind, message: expect.stringMatching(message) };

    it(`${name} is found by every strategy: ${kind}`, async () => {
      const door = new Door();
      const program = await new Linker(door).link(canaries);
      const scenario = program.exports[name] as Scenario;
      for (const exploration of STRATEGIES) {
        const stage = new ScenarioStage(door, program, scenario);
        // Without schedules at random at first: they would find it, not the strategy.
        const explorer = new Explorer(door, stage, exploration, NO_LIMITS, 0);
        while (!explorer.advance(100));
        expect(explorer.found?.failure, exploration.strategy).toMatchObject(expected);
      }
    });

    if (kind === "livelock") continue;
    it(`${name} fails again by its schedule, also in a program loaded anew`, async () => {
      const checked = await loadCanary(name);
      for (const exploration of STRATEGIES) {
        const { story } = await checked.check({ exploration });
        expect(story?.failure, exploration.strategy).toMatchObject(expected);
        for (const again of [checked, checked, await loadCanary(name)]) {
          const replayed = await again.check({ replay: story!.schedule });
          expect(replayed.story?.failure, story!.schedule).toEqual(story!.failure);
          expect(replayed.story?.steps).toEqual(story!.steps);
        }
      }
    });
  }

  it("nothing is found where there is nothing", async () => {
    const checked = await loadCanary("sound");
    for (const exploration of STRATEGIES) {
      const report = await checked.check({ exploration });
      expect(report.story, exploration.strategy).toBeNull();
      expect(report.complete, exploration.strategy).toBe(!("schedules" in exploration));
    }
  });
});

describe("an exploration that is shared", () => {
  const LONG: Shapes = [
    [2, 6],
    [3, 4],
    [4, 3],
  ];
  const WAYS: Readonly<Record<string, (beginnings: Beginnings | null) => Strategy>> = {
    reduced: (beginnings) => new Reduced(beginnings),
    bounded: (beginnings) => new Bounded(2, beginnings),
  };

  for (const [name, make] of Object.entries(WAYS)) {
    it(`${name}: each schedule is run by one of the threads`, async () => {
      let byOthers = 0;
      const property = fc.asyncProperty(
        fc
          .constantFrom(accesses, everything)
          .chain((kind) => programOf(kind, LONG).map((program) => ({ kind, program }))),
        fc.integer({ min: 2, max: 3 }),
        async ({ kind, program }, parts) => {
          const alone = await playAll(program, () => make(null));
          const shared = await playShared(program, make, parts);
          const complete = shared.reduce((sum, each) => sum + each.complete, 0);
          // Of waits that commute in fact, but not by their words, alone fewer orders are run.
          if (kind === accesses) expect(complete).toBe(alone.complete);
          const states = new Set(shared.flatMap((each) => [...each.states]));
          expect(states).toEqual(alone.states);
          byOthers += shared.slice(1).reduce((sum, each) => sum + each.complete, 0);
        },
      );
      await fc.assert(property, { seed: 5, numRuns: 60 });
      expect(byOthers).toBeGreaterThan(200);
    }, 120_000);
  }

  it("all begin again when one finds a further contended word", async () => {
    const shares = makeShares(2);
    const reports = await Promise.all(
      shares.map(async (share) => (await loadCanary("sound")).check({ share })),
    );
    const alone = await (await loadCanary("sound")).check();
    const counted = reports.reduce((sum, { schedules }) => sum + schedules, 0);
    expect(counted).toBe(alone.schedules);
    expect(reports.every(({ complete }) => complete)).toBe(true);
    const [one, two] = makeShares(2).map((share) => new Beginnings(share));
    expect(one!.isMine()).toBe(true);
    two!.tell([7]);
    expect([one!.isOver, one!.again(), two!.again()]).toEqual([true, [7], [7]]);
    expect([one!.isOver, two!.isMine(), one!.isMine()]).toEqual([false, true, false]);
  });

  it("ends for all when one has failed", async () => {
    const reports = await Promise.all(
      makeShares(2).map(async (share) => (await loadCanary("lostUpdate")).check({ share })),
    );
    expect(reports.some(({ story }) => story?.failure?.kind === "check")).toBe(true);
  });
});

describe("shrinking", () => {
  it("a story without some actors fails again by its schedule", async () => {
    const checked = await loadCanary("forgivenLostUpdate");
    const { story } = await checked.check();
    expect(story?.actors).toEqual(["one", "two"]);
    const replayed = await (await loadCanary("forgivenLostUpdate")).check({
      replay: story!.schedule,
    });
    expect(replayed.story?.failure).toEqual(story!.failure);
  });

  it("actors that do not matter are left out, and one interruption is enough", async () => {
    const checked = await loadCanary("crowdedLostUpdate");
    for (const exploration of STRATEGIES) {
      const { story } = await checked.check({ exploration });
      expect(story?.actors).toEqual(["one", "two"]);
      expect(story?.schedule).toMatch(/^-reader -writer (one two\*2 one|two one\*2 two)$/);
    }
  });

  it("operations that do not matter are left out, and a schedule says which", async () => {
    const checked = await loadCanary("busyLostUpdate");
    for (const exploration of STRATEGIES) {
      const { story } = await checked.check({ exploration });
      expect(story?.actors).toEqual(["one", "two"]);
      expect(story?.schedule).toMatch(
        /^-three -one\.1 -one\.3 -two\.1 -two\.2 (one two\*2 one|two one\*2 two)$/,
      );
      const { story: again } = await checked.check({ replay: story!.schedule });
      expect(again?.failure).toEqual(story!.failure);
    }
  });

  it("a schedule that leaves out what there is not is refused", async () => {
    const checked = await loadCanary("busyLostUpdate");
    await expect(checked.check({ replay: "-two.4 one two" })).rejects.toThrow(
      "the scenario has no 'two.4' to leave out; it has one, two, three, one.1, one.2",
    );
  });

  it("an actor that a schedule could not name is refused", async () => {
    const checked = await loadCanary("unspeakable");
    await expect(checked.check()).rejects.toThrow("'one of them' cannot be an actor's name");
  });

  it("as few interruptions as the bug needs", async () => {
    const checked = await loadCanary("threeTurns");
    const { story } = await checked.check({ exploration: { strategy: "random", schedules: 5000 } });
    expect(story?.schedule).toBe("reader writer reader writer*2 reader");
  });

  it("without it the schedule stays as it was found", async () => {
    const checked = await loadCanary("crowdedLostUpdate");
    const { story } = await checked.check({ shrink: false });
    expect(story?.actors).toEqual(["reader", "one", "writer", "two"]);
    expect(story?.failure?.kind).toBe("check");
  });
});

it("a scenario is explored the same after another one, in the same program", async () => {
  const places = listScenarios().filter(({ module }) => module.href.endsWith("/pins/pages.js"));
  expect(places.length).toBeGreaterThan(2);
  let program = await Checked.load({ module: places[0]!.module, name: places[0]!.name });
  for (const { module, name } of places) {
    const alone = await (await Checked.load({ module, name })).check();
    program = program.another({ module, name });
    const after = await program.check();
    expect({ ...after, seconds: 0 }).toEqual({ ...alone, seconds: 0 });
  }
});
