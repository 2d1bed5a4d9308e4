/** The holder of a device inside the process: claims, releases, removal, and the holder's death. */
import { HoldfastError } from "../../../base/errors.ts";
import { DeviceState, StateArea } from "../../../device/state.ts";
import { load, store } from "../../../sync/atomics.ts";
import { type Region, Root } from "../../../sync/region.ts";
import type { Sleeps } from "../../../sync/sleep.ts";
import { ensure, ensureNoLeak, type Plot, type Scenario, type Self } from "../../scenario.ts";
import { deviceStateWordName } from "../../world/names.ts";
import { playedIn } from "../../world/plots.ts";
import { isDead, regionWithThreads } from "../../world/threads.ts";

interface ClaimShared {
  readonly region: Region;
  /** A word for each actor: whether its claim succeeded. */
  readonly claimed: number;
}

/** The device in one schedule. */
class Claims {
  readonly actors: readonly Self[];
  readonly #states: readonly DeviceState[];
  readonly #claimed: number;

  constructor({ claimed }: ClaimShared, actors: readonly Self[]) {
    this.actors = actors;
    this.#claimed = claimed;
    this.#states = actors.map(({ thread }) => new DeviceState(thread));
    for (const state of this.#states) state.recover();
  }

  state(self: Self): DeviceState {
    return this.#states[this.actors.indexOf(self)]!;
  }

  /** Claims the device by the actor's name. Returns false when it is refused; `asks`: and told by whom. */
  claim(self: Self, asks = true): boolean {
    try {
      this.state(self).claim(self.name);
    } catch (error) {
      if (asks) this.#ensureRefusal(self, error);
      return false;
    }
    self.say("holds the device");
    store(self.thread.words, this.#claimed + self.thread.slot, 1);
    return true;
  }

  #ensureRefusal(self: Self, error: unknown): void {
    if (!(error instanceof HoldfastError)) throw error;
    self.say(`is refused: ${error.message}`);
    if (error.code === "EIO") {
      ensure(this.state(self).isGone, "a device that is there is said to be gone");
      return;
    }
    const named = this.actors.filter(({ name }) => error.message.includes(`held by ${name} (`));
    ensure(named.length === 1, `the refusal names no holder: ${error.message}`);
    const { words } = self.thread;
    const held = load(words, this.#claimed + named[0]!.thread.slot);
    ensure(held !== 0 || named[0] !== self, "who is refused is told that he is the holder himself");
  }

  release(self: Self): void {
    store(self.thread.words, this.#claimed + self.thread.slot, 0);
    this.state(self).release();
    self.say("has released it");
    ensure(!this.state(self).isMine, "a device is held after its release");
  }

  /** Sleeps until nobody holds the device. */
  *untilFree(self: Self): Sleeps<void> {
    const { word } = this.state(self);
    for (let state = load(self.thread.words, word); state > 0; ) {
      yield { word, expected: state, what: () => "the release" };
      state = load(self.thread.words, word);
    }
  }

  /** Sleeps until the holder is told of the removal. */
  *untilTold(self: Self): Sleeps<void> {
    const { word } = this.state(self);
    while (load(self.thread.words, word) === self.thread.holder) {
      yield { word, expected: self.thread.holder, what: () => "the removal" };
    }
    ensure(
      this.state(self).isGone && this.state(self).isMine,
      "a holder is not told of the removal",
    );
  }

  end(): void {
    const survivor = this.actors.find(({ thread }) => !isDead(thread));
    if (survivor === undefined) return;
    survivor.thread.reap();
    const { words } = survivor.thread;
    const value = load(words, this.state(survivor).word);
    for (const { name, thread } of this.actors) {
      const holds = Math.abs(value) === thread.holder;
      ensureNoLeak(!holds || !isDead(thread), `${name} is dead and holds the device`);
      const claimed = load(words, this.#claimed + thread.slot) !== 0;
      ensure(!claimed || holds || isDead(thread), `${name}'s claim is lost`);
      if (value > 0 && !holds && !isDead(thread)) this.claim(this.#selfOf(name));
    }
  }

  #selfOf(name: string): Self {
    return this.actors.find((self) => self.name === name)!;
  }

  nameOf(word: number): string | null {
    const { region } = this.actors[0]!.thread;
    const offset = word - region.root(Root.deviceState);
    if (offset >= 0 && offset < StateArea.names) return deviceStateWordName(offset);
    const slot = word - this.#claimed;
    if (slot >= 0 && slot < this.actors.length)
      return `${this.actors[slot]!.name} holds the device`;
    return offset >= StateArea.names && offset < 1024 ? "a holder's name" : null;
  }
}

function claimStory(plot: Plot<ClaimShared, Claims>): Scenario<ClaimShared, Claims> {
  return playedIn(
    {
      build(actors) {
        const { region, thread } = regionWithThreads(actors);
        DeviceState.create(thread);
        return { region, claimed: region.allocatePages(1) };
      },
      begin: (shared, actors) => new Claims(shared, actors),
      watch: {
        state: (claims) => {
          const self = claims.actors[0]!;
          return load(self.thread.words, claims.state(self).word);
        },
      },
    },
    { explore: { strategy: "reduced" }, ...plot },
  );
}

export const claimRemoval = claimStory({
  name: "device-claim-removal",
  about:
    "A device is claimed while it is removed. The claim is refused, or its holder is told: it never " +
    "holds a device that it takes for present for ever.",
  from: "hazard H10: kill_dax tells the holder, and clears ALIVE later; device/state.ts, rule 1",
  actors: {
    *one(claims, self) {
      if (claims.claim(self)) yield* claims.untilTold(self);
    },
    remover: (claims, self) => {
      claims.state(self).remove("");
    },
  },
});

export const claimRelease = claimStory({
  name: "device-claim-release",
  about:
    "Two threads claim a device and release it, and a third one claims it. There is one holder at a " +
    "time, and who is refused is told its name.",
  from: "bug 23: fs_put_dax() clears the next holder's ops; device/state.ts, rule 2",
  actors: {
    one(claims, self) {
      if (claims.claim(self)) claims.release(self);
    },
    two(claims, self) {
      claims.claim(self);
    },
    tre(claims, self) {
      claims.claim(self);
    },
  },
  explore: { strategy: "bounded", preemptions: 3 },
});

export const claimNext = claimStory({
  name: "device-claim-next",
  about:
    "A device is claimed while its holder releases it. Who asks in the end is told the next holder's name: " +
    "the release has taken nothing away that the next one has put there.",
  from: "bug 23: fs_put_dax() clears the next holder's ops; device/state.ts, rule 2",
  actors: {
    one(claims, self) {
      if (claims.claim(self, false)) claims.release(self);
    },
    *two(claims, self) {
      if (claims.claim(self, false)) return;
      yield* claims.untilFree(self);
      claims.claim(self, false);
    },
  },
});

export const claimTwice = claimStory({
  name: "device-claim-twice",
  about: "A holder claims again, by another name. It is refused with the name that it has.",
  from: "device/state.ts, rule 2",
  actors: {
    one(claims, self) {
      claims.claim(self);
      let refusal = "";
      try {
        claims.state(self).claim("uno");
      } catch (error) {
        refusal = String(error);
      }
      ensure(refusal.includes("held by one ("), `a second claim is answered by: ${refusal}`);
    },
  },
});

export const releaseRemoval = claimStory({
  name: "device-release-removal",
  about:
    "A holder releases a device while it is removed, and another thread claims it. The release ends at " +
    "once, whether it was told or not; the other one is refused, or told.",
  from: "issue 4, row 4: races of claim, release and removal",
  actors: {
    one(claims, self) {
      if (claims.claim(self)) claims.release(self);
    },
    *two(claims, self) {
      if (claims.claim(self)) yield* claims.untilTold(self);
    },
    remover: (claims, self) => {
      claims.state(self).remove("");
    },
  },
  explore: { strategy: "bounded", preemptions: 3 },
});

export const claimKilled = claimStory({
  name: "device-claim-killed",
  about:
    "A holder dies. Whoever claims the device afterwards finds that and gets it; the dead one holds nothing " +
    "in the end.",
  from: "device/state.ts, rule 3",
  actors: {
    one: (claims, self) => {
      claims.claim(self);
    },
    two(claims, self) {
      const isAlone = isDead(claims.actors[0]!.thread);
      const isMine = claims.claim(self);
      ensure(
        isMine || !isAlone,
        "a device is not given to whoever claims it after its holder's death",
      );
    },
  },
  environment: { death: { kill: "one" } },
});
