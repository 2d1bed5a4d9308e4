/** Kernels are told to give up what they keep of a file that others change: who waits for whom, and who dies. */
import type { Sleeps } from "../../../sync/sleep.ts";
import type { Scenario, Self } from "../../scenario.ts";
import { type Story, storyIn } from "../../world/plots.ts";
import { buildRecalls, Recalling, type RecallsShared } from "../../world/recalls.ts";

interface RecallStory extends Story<RecallsShared, Recalling> {
  /** Recalls that may wait at a time. Default 4. */
  readonly places?: number;
}

function recallStory({ places = 4, ...story }: RecallStory): Scenario<RecallsShared, Recalling> {
  return storyIn(
    {
      build: (actors) => buildRecalls(actors, places),
      begin: (shared, actors) => new Recalling(shared, actors),
    },
    { explore: { strategy: "bounded", preemptions: 2 }, ...story },
  );
}

const change = (recalling: Recalling, self: Self): Sleeps<void> => recalling.change(self);
const look = (recalling: Recalling): void => recalling.look();
const passOn =
  (changes: number) =>
  (recalling: Recalling, self: Self): Sleeps<void> =>
    recalling.passOn(self, changes);

/** Is mounted while others go on. */
const mountAndPassOn = (changes: number) =>
  function* (recalling: Recalling, self: Self): Sleeps<void> {
    recalling.mount(self);
    yield* recalling.passOn(self, changes);
  };

export const recallPassedOn = recallStory({
  name: "recall-passed-on",
  about:
    "A thread changes a file that a program looks at through a kernel, which keeps it. When the change returns, the " +
    "kernel does not keep what was there before.",
  from: "volume/kernel-recalls.ts, rule 1",
  prepare: (recalling) => recalling.mountBy("kernel"),
  actors: { writer: change, program: [look, look], kernel: passOn(1) },
});

export const recallsOfTwo = recallStory({
  name: "recalls-of-two",
  about: "Two threads change a file, and there is room for one recall that waits. Both return.",
  from: "volume/kernel-recalls.ts, rule 2",
  places: 1,
  prepare: (recalling) => recalling.mountBy("kernel"),
  actors: { writer: change, "writer-2": change, program: look, kernel: passOn(2) },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const recallToTwo = recallStory({
  name: "recall-to-two",
  about:
    "Two kernels keep a file that is changed, with room for one recall that waits. Neither keeps what was there before.",
  from: "volume/kernel-recalls.ts, rules 1 and 2",
  places: 1,
  prepare(recalling) {
    recalling.mountBy("kernel");
    recalling.mountBy("kernel-2");
  },
  actors: { writer: change, program: look, kernel: passOn(1), "kernel-2": passOn(1) },
  explore: { strategy: "bounded", preemptions: 1 },
});

export const recallersTooMany = recallStory({
  name: "recallers-too-many",
  about:
    "A file is changed while no kernel has the volume mounted. Then as many have as there are places for, and are told of " +
    "nothing; one more is refused.",
  from: "volume/kernel-recalls.ts, rule 3",
  places: 2,
  actors: { actor: [change, (recalling, self) => recalling.mountAll(self)] },
});

export const recallByNobody = recallStory({
  name: "recall-by-nobody",
  about: "No kernel has the volume mounted. Who changes a file waits for nobody, however often.",
  from: "volume/kernel-recalls.ts, rule 1",
  places: 1,
  actors: { writer: [change, change] },
});

export const recallerBegins = recallStory({
  name: "recaller-begins",
  about:
    "A kernel mounts the volume while threads change a file. It is told of what comes from then on, and keeps nothing " +
    "that is older.",
  from: "volume/kernel-recalls.ts, rule 3",
  places: 1,
  actors: { writer: [change, change], program: look, kernel: mountAndPassOn(2) },
});

export const recallerEnds = recallStory({
  name: "recaller-ends",
  about:
    "A kernel's mount ends while a thread waits for it, or is about to. It waits no more; another mount may take the place.",
  from: "volume/kernel-recalls.ts, rules 1 and 3",
  places: 1,
  prepare: (recalling) => recalling.mountBy("kernel"),
  actors: { writer: change, kernel: passOn(0), "kernel-2": mountAndPassOn(1) },
});

export const recallerDies = recallStory({
  name: "recaller-dies",
  about:
    "The thread that passes recalls on dies. Who waits for it goes on, and so does who asks next.",
  from: "volume/kernel-recalls.ts, rule 1",
  places: 1,
  prepare: (recalling) => recalling.mountBy("kernel"),
  actors: { writer: [change, change], program: look, kernel: passOn(2) },
  environment: { kill: { kill: "kernel" } },
});

export const recallGivenUp = recallStory({
  name: "recall-given-up",
  about:
    "A thread that changes a file does not wait until the kernel has given up what it keeps. It has asked all the same, " +
    "also where there was no room to ask: nothing old is left when all is passed on.",
  from: "volume/kernel-pages.ts",
  places: 1,
  prepare: (recalling) => recalling.mountBy("kernel"),
  actors: {
    writer: (recalling, self) => recalling.changeImpatiently(self),
    "writer-2": change,
    program: look,
    kernel: passOn(2),
  },
  environment: { abort: { abort: "writer" } },
  finally: (recalling) => recalling.assertAllFresh(),
  explore: { strategy: "pct", depth: 3, schedules: 4000 },
});

export const recallAskerDies = recallStory({
  name: "recall-asker-dies",
  about:
    "A thread dies while it asks for a recall, or waits for it. Another one is not kept from asking, nor from what it asks.",
  from: "volume/kernel-recalls.ts, rule 2",
  places: 1,
  prepare: (recalling) => recalling.mountBy("kernel"),
  actors: { writer: change, "writer-2": change, kernel: passOn(2) },
  environment: { kill: { kill: "writer" } },
  explore: { strategy: "pct", depth: 3, schedules: 2000 },
});
