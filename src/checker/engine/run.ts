/**
 * One schedule after another of one program. The run keeps, for every actor, the contended access it
 * stands before; the strategy says whose turn it is; a turn is that access and all that follows up to
 * the actor's next one.
 *
 * A turn costs a switch of generators only when the actor changes: as long as the strategy stays with
 * the one that runs, `arrive` lets it go on in place.
 */
import type { Failure, FailureKind } from "../report/story.ts";
import { doubled } from "./bits.ts";
import { Access, ACTORS_MAX, type Door, type Poll } from "./door.ts";
import type { Race, Races } from "./races.ts";

/** A wait as the core yields it (sync/sleep.ts). */
interface CoreWait {
  readonly word: number;
  readonly expected: number;
  readonly what: () => unknown;
  readonly sliceMs?: number;
}

/** What the environment does to an actor: ends it, or aborts what it waits for. Or time passes. */
export interface Environment {
  readonly act: "kill" | "abort" | "pass";
  /** The actor; of "pass", itself. */
  readonly target: number;
  /** Of "pass": how long. */
  readonly milliseconds?: number;
}

/** One actor of one schedule. */
export interface Actor {
  readonly name: string;
  /** Its code; or what the environment does instead. */
  readonly body: Generator<unknown, unknown> | Environment;
}

/** What a program provides for its schedules. */
export interface Stage {
  /** The actors of a new schedule; the words are as they were marked. */
  begin(): readonly Actor[];
  /** Looks for dead threads on behalf of a waiting actor. */
  reap(actor: number): Generator<unknown, unknown>;
  /** Ends the actor's thread; returns the word that tells of it. */
  kill(target: number): number;
  abort(target: number): void;
  /** The error that ends the actor's wait now, or null. */
  interruption(actor: number, wait: CoreWait): Error | null;
  /** When the actor's operation must end, in milliseconds of the program's clock; or Infinity. */
  deadlineMs(actor: number): number;
  /** After all actors have ended, alone. Throws when something is not as it must be. */
  end(): void;
  /** What a race is, in words. */
  describeRace(race: Race): string;
  /** Sorts an error into the kinds of failure. */
  classify(error: unknown): { readonly kind: FailureKind; readonly message: string };
}

/** Whose turn it is. One object per exploration. */
export interface Strategy {
  /** A new schedule begins. */
  begin(run: Run): void;
  /**
   * Writes the turns that are decided already; returns how many. `turns` holds those of the schedule
   * before. The strategy is asked for the last one of them, and for all that follow.
   */
  plan?(turns: Uint8Array): number;
  /** Whether it looks at what actors have seen so far (door.ts, `history`). */
  readonly keepsStates?: boolean;
  /** Whether it stays with the actor that runs as long as that can go on, mostly. */
  readonly stays?: boolean;
  /**
   * The actor whose turn comes, out of `enabled` (a bit each, not none), or -1 to give the schedule
   * up. `current` ran last.
   */
  choose(enabled: number, current: number): number;
  /** The schedule has ended. Returns whether there is another one to run. */
  end(outcome: Outcome): boolean;
  /** How much of all is explored, 0 to 1, by estimate; null when that cannot be told. */
  progress(): number | null;
}

export interface Outcome {
  readonly failure: Failure | null;
  /** Given up: another schedule stands for it. */
  readonly redundant: boolean;
  readonly steps: number;
}

export interface RunLimits {
  /** Turns after which a schedule counts as endless. */
  readonly stepsMax: number;
  /** Whether words found contended meanwhile count as such. Default: true. */
  readonly settles?: boolean;
}

/** More turns than any schedule has. */
const TURNS_MAX = 0x40000000;

/** Runs of a schedule, one after another, that come no further than the one before. */
const AGAIN_MAX = 10_000;

/** Instead of an actor whose turn it is. */
const UNDECIDED = -1;
const GIVEN_UP = -2;
const NOBODY = -3;

export class Run {
  readonly door: Door;
  readonly #stage: Stage;
  readonly #strategy: Strategy;
  readonly #stepsMax: number;
  readonly #settles: boolean;
  actors: readonly Actor[] = [];
  count = 0;
  /** The contended access each actor stands before. */
  readonly pendingWord = new Int32Array(ACTORS_MAX);
  readonly pendingAccess = new Int32Array(ACTORS_MAX);
  readonly pendingSite = new Int32Array(ACTORS_MAX);
  /** Actors that have a turn to take; those asleep by poll are looked at each time. */
  #ready = 0;
  #polling = 0;
  /** Actors that may still do something. */
  live = 0;
  /** Environment actors, one bit each. */
  environment = 0;
  readonly #waits: (CoreWait | Poll | null)[] = new Array(ACTORS_MAX).fill(null);
  readonly #stacks: Generator<unknown, unknown>[][] = [];
  /** Sleeping: their wake-up resumes them, however the word stands. */
  #asleep = 0;
  /** Somebody has died since they looked: a poll returns once, to see whether it was the holder. */
  #lookAgain = 0;
  /** Asleep by poll, but what they poll for has come. */
  #pollOver = 0;
  /** Somebody has died since they looked: they reap once before they sleep. */
  #mustReap = 0;
  /** The schedule so far: an actor per turn. */
  trace = new Uint8Array(1024);
  #next: number = UNDECIDED;
  #starting = false;
  /** Turns that the strategy decided when the schedule was run before, to where it could not go on. */
  #decided = 0;
  /** Turns that the strategy decided before the schedule began. */
  #planned = 0;
  /** The first turn that the strategy is asked for. */
  #firstAsked = 0;
  /** Whether the strategy knows of the schedule. */
  #begun = false;
  #givenUp = false;
  /** Where the present actor's turns in a row end, as far as they are known. */
  #rowEnd = 0;
  /** Looks for data races, if set. Costs some ten times the schedule. */
  races: Races | null = null;
  /** Turns of a schedule that went on too long, now fair to all. */
  #fairTurns = 0;
  /** Told of each turn, while a story is recorded. */
  observer: { turn(actor: number): void; turnEnded(): void } | null = null;

  /** Turns of the schedule so far. */
  get steps(): number {
    return this.door.turns;
  }

  constructor(door: Door, stage: Stage, strategy: Strategy, limits: RunLimits) {
    this.door = door;
    this.#stage = stage;
    this.#strategy = strategy;
    this.#stepsMax = limits.stepsMax;
    this.#settles = limits.settles ?? true;
    door.keepsHistory = strategy.keepsStates === true;
    door.arrive = (site, word, access) => this.#arrive(site, word, access);
    door.onWake = (word) => this.#wake(word);
    door.onEndless = () => {
      throw new EndlessSchedule(limits.stepsMax);
    };
  }

  /** Runs one schedule. */
  schedule(): Outcome {
    const { door } = this;
    door.mayCallPlainly = this.observer === null && !door.everyAccess;
    this.#decided = 0;
    this.#planned = this.#strategy.plan?.(this.trace) ?? 0;
    this.#begun = false;
    for (let again = 0; ; ) {
      door.refused = false;
      this.#givenUp = false;
      const outcome = this.#once();
      if (!door.refused) return outcome;
      if (this.#givenUp) return { failure: null, redundant: true, steps: this.steps };
      if (this.steps > this.#decided) again = 0;
      else if (++again > AGAIN_MAX) {
        const { name } = this.actors[door.actor]!;
        throw new Error(`${name} comes to a contended word, or a wait, in a constructor`);
      }
      this.#decided = this.steps;
    }
  }

  #once(): Outcome {
    const { door } = this;
    door.alone = true;
    door.rewind();
    if (this.#settles && !this.#begun) door.settle();
    door.indivisible = 0;
    this.actors = this.#stage.begin();
    this.count = this.actors.length;
    this.#firstAsked = Math.min(Math.max(this.#decided, this.#planned - 1), this.#stepsMax);
    this.#fairTurns = 0;
    this.#watchForRaces();
    this.live = (1 << this.count) - 1;
    this.#ready = 0;
    this.#polling = 0;
    this.#asleep = 0;
    this.#lookAgain = 0;
    this.#pollOver = 0;
    this.#mustReap = 0;
    this.woken = 0;
    this.#next = UNDECIDED;
    this.environment = 0;
    door.mortal = 0;
    door.turns = 0;
    door.certain = 0;
    door.likely = 0;
    this.#rowEnd = 0;
    let failure: Failure | null = null;
    let redundant = false;
    try {
      this.#start();
      if (!this.#begun) this.#strategy.begin(this);
      this.#begun = true;
      redundant = !this.#loop();
      door.alone = true;
      if (!redundant) failure = this.#stillAsleep();
      if (!redundant && failure === null) failure = this.#race();
      if (!redundant && failure === null) {
        door.actor = -1;
        this.#stage.end();
      }
    } catch (error) {
      door.alone = true;
      failure = { ...this.#stage.classify(error), actor: door.actor };
    }
    return { failure, redundant, steps: this.steps };
  }

  /** Accesses of contended words are told of when they are executed, others when they are come to. */
  #watchForRaces(): void {
    const { door, races } = this;
    if (races === null) return;
    races.begin();
    if (door.everyAccess) return; // then each access has its turn
    door.observe = (site, word, access) => {
      if (!door.isTurn(word)) races.access(door.actor, word, access, site);
    };
  }

  #race(): Failure | null {
    const race = this.races?.found ?? null;
    if (race === null) return null;
    return { kind: "data race", message: this.#stage.describeRace(race), actor: race.actor };
  }

  /** Every actor goes up to its first contended access. */
  #start(): void {
    for (let actor = 0; actor < this.count; actor++) {
      const { body } = this.actors[actor]!;
      if (!("act" in body)) {
        this.#stacks[actor] = [body];
        continue;
      }
      this.environment |= 1 << actor;
      if (body.act === "kill") this.door.mortal |= 1 << body.target;
      this.#stand(actor, -1, body.target, Access[body.act]);
    }
    this.door.alone = false;
    this.#starting = true;
    for (let actor = 0; actor < this.count; actor++) {
      if (!(this.environment & (1 << actor))) this.#resume(actor);
    }
    this.#starting = false;
    this.door.actor = -1; // whoever comes first interrupts nobody
  }

  #stand(actor: number, site: number, word: number, access: number): void {
    this.pendingSite[actor] = site;
    this.pendingWord[actor] = word;
    this.pendingAccess[actor] = access;
    this.#ready |= 1 << actor;
  }

  /** False: given up. */
  #loop(): boolean {
    for (;;) {
      const next = this.#next === UNDECIDED ? this.#choose() : this.#next;
      this.#next = UNDECIDED;
      if (next === GIVEN_UP) return false;
      if (next === NOBODY) return true;
      if (this.environment & (1 << next)) this.#act(next);
      else if (this.pendingAccess[next] === Access.wait) this.#takeWait(next);
      else this.#resume(next);
    }
  }

  /** The next actor, its turn noted; or GIVEN_UP, or NOBODY. */
  #choose(): number {
    let enabled = this.enabled();
    if (enabled === 0 && this.#passToNext()) enabled = this.enabled();
    if (enabled === 0) return NOBODY;
    const at = this.steps;
    const next = at < this.#stepsMax ? this.#turnOf(at, enabled) : this.#fairTurn(enabled);
    if (next < 0) {
      this.#givenUp = true;
      return GIVEN_UP;
    }
    if (at === this.trace.length) this.trace = doubled(this.trace);
    this.trace[at] = next;
    this.door.turns = at + 1;
    this.#lookAhead(at, next);
    if (this.observer !== null) this.observer.turn(next);
    if (this.races !== null) this.#tellRaces(this.races, next);
    return next;
  }

  #turnOf(at: number, enabled: number): number {
    if (at >= this.#firstAsked) return this.#strategy.choose(enabled, this.door.actor);
    this.woken = 0;
    return this.trace[at]!;
  }

  /** Tells the door how far the actor of turn `at` goes on. */
  #lookAhead(at: number, actor: number): void {
    const { door } = this;
    const known = Math.max(this.#planned, this.#decided);
    if (at >= this.#rowEnd) {
      let end = at + 1;
      while (end < known && this.trace[end] === actor) end++;
      this.#rowEnd = end;
    }
    door.likely = this.#rowEnd >= known && this.#strategy.stays ? TURNS_MAX : this.#rowEnd;
    // The last turn before the strategy is asked is looked at, to know whom it wakes.
    if (door.mayCallPlainly && this.races === null) {
      door.certain = Math.min(this.#rowEnd, this.#firstAsked - 1);
    }
  }

  /** A schedule may be endless since it never lets somebody go on: then it is nobody's fault. */
  #fairTurn(enabled: number): number {
    if (this.#fairTurns++ >= this.#stepsMax) throw new EndlessSchedule(this.steps);
    for (let after = 1; after <= this.count; after++) {
      const actor = (this.door.actor + after) % this.count;
      if (enabled & (1 << actor)) return actor;
    }
    return -1;
  }

  #tellRaces(races: Races, actor: number): void {
    const access = this.pendingAccess[actor]!;
    if (access >= Access.kill) return;
    const asRead = access === Access.wait ? Access.read : access;
    races.access(actor, this.pendingWord[actor]!, asRead, this.pendingSite[actor]!);
  }

  /** Who can take a turn now. */
  enabled(): number {
    let enabled = this.#ready;
    if (this.#polling !== 0) {
      for (let actor = 0; actor < this.count; actor++) {
        const bit = 1 << actor;
        if (!(this.#polling & bit)) continue;
        const wait = this.#waits[actor]!;
        if (this.door.words[wait.word] === wait.expected) {
          this.#pollOver &= ~bit;
          continue;
        }
        enabled |= bit;
        if (!(this.#pollOver & bit)) this.woken |= bit;
        this.#pollOver |= bit;
      }
    }
    if (this.environment !== 0) enabled &= ~this.#idleEnvironment();
    return enabled;
  }

  /** Environment actors whose target is gone, or cannot be touched now. */
  #idleEnvironment(): number {
    let idle = 0;
    for (let actor = 0; actor < this.count; actor++) {
      if (!(this.environment & (1 << actor))) continue;
      const target = 1 << this.pendingWord[actor]!;
      const spared = this.pendingAccess[actor] === Access.kill ? this.door.indivisible : 0;
      if (!(this.live & target) || spared & target) idle |= 1 << actor;
    }
    return idle;
  }

  /** Called at a contended access. True: the actor pauses before it. */
  #arrive(site: number, word: number, access: number): boolean {
    const { actor } = this.door;
    this.#stand(actor, site, word, access);
    if (this.#starting) return true;
    if (this.observer !== null) this.observer.turnEnded();
    const next = this.#choose();
    if (next === actor) {
      this.#ready &= ~(1 << actor);
      return false;
    }
    this.#next = next;
    return true;
  }

  /** Lets an actor go on, until it pauses, sleeps or ends. */
  #resume(actor: number, error: Error | null = null): void {
    const bit = 1 << actor;
    this.#ready &= ~bit;
    this.#polling &= ~bit;
    this.door.actor = actor;
    const stack = this.#stacks[actor]!;
    for (;;) {
      const top = stack[stack.length - 1]!;
      const step = error === null ? top.next() : top.throw(error);
      error = null;
      if (!step.done) {
        if (step.value !== undefined) this.#standBeforeWait(actor, step.value as CoreWait | Poll);
        return;
      }
      stack.pop();
      if (stack.length > 0) continue;
      this.live &= ~bit;
      if (this.observer !== null) this.observer.turnEnded();
      return;
    }
  }

  #standBeforeWait(actor: number, wait: CoreWait | Poll): void {
    this.door.noteWait(wait.word);
    this.#waits[actor] = wait;
    this.#stand(actor, -1, wait.word, Access.wait);
    if (!this.#starting && this.observer !== null) this.observer.turnEnded();
  }

  /** A turn of an actor that stands before a wait, or wakes from it. */
  #takeWait(actor: number): void {
    const bit = 1 << actor;
    const wait = this.#waits[actor]!;
    const { words } = this.door;
    this.door.actor = actor;
    if ("poll" in wait) {
      if (words[wait.word] !== wait.expected || this.#lookAgain & bit) {
        this.#lookAgain &= ~bit;
        this.#goOn(actor);
      } else this.#sleep(bit, true);
      return;
    }
    const wasAsleep = (this.#asleep & bit) !== 0;
    this.#asleep &= ~bit;
    const interruption = this.#stage.interruption(actor, wait);
    if (interruption !== null) this.#goOn(actor, interruption);
    else if (wasAsleep || words[wait.word] !== wait.expected) {
      if (words[wait.word] === wait.expected && this.#mustReap & bit) this.#reapFirst(actor);
      this.#goOn(actor);
    } else if (this.#mustReap & bit) {
      this.#reapFirst(actor);
      this.#goOn(actor);
    } else {
      this.#asleep |= bit;
      this.#sleep(bit, false);
    }
  }

  /** An actor's wait is over. */
  #goOn(actor: number, error: Error | null = null): void {
    this.door.seen(error === null ? 0 : 1);
    this.#resume(actor, error);
  }

  #sleep(bit: number, polls: boolean): void {
    this.#ready &= ~bit;
    if (polls) {
      this.#polling |= bit;
      this.#pollOver &= ~bit;
    }
    if (this.observer !== null) this.observer.turnEnded();
  }

  #reapFirst(actor: number): void {
    this.#mustReap &= ~(1 << actor);
    this.#stacks[actor]!.push(this.#stage.reap(actor));
  }

  /** Whether anybody was put to sleep and has not gone on since. */
  get hasSleepers(): boolean {
    return (this.#asleep | this.#polling) !== 0;
  }

  /** Whether an actor sleeps, or would if it had its turn. */
  isAsleep(actor: number): boolean {
    return ((this.#asleep | this.#polling) & (1 << actor)) !== 0;
  }

  #wake(word: number): void {
    // Who was woken before, and has not gone on, is woken by that.
    const sleepers = this.#asleep & ~this.#ready;
    if (sleepers === 0) return;
    for (let actor = 0; actor < this.count; actor++) {
      if (sleepers & (1 << actor) && this.#waits[actor]!.word === word) {
        this.#ready |= 1 << actor;
        this.woken |= 1 << actor;
      }
    }
  }

  /** Woken in this turn: the strategy takes and clears it. */
  woken = 0;

  /** With nobody left to go on, time passes until the first wait that ends by it. */
  #passToNext(): boolean {
    let first = Infinity;
    for (let actor = 0; actor < this.count; actor++) {
      if (!(this.#asleep & (1 << actor))) continue;
      const { sliceMs } = this.#waits[actor] as CoreWait;
      const ends = this.door.nowMs + (sliceMs ?? Infinity);
      first = Math.min(first, ends, this.#stage.deadlineMs(actor));
    }
    if (first === Infinity) return false;
    this.door.nowMs = Math.max(first, this.door.nowMs);
    this.#lookAround();
    return true;
  }

  /** Time has passed: everyone who sleeps looks whether it still must. */
  #lookAround(): void {
    const sleepers = this.#asleep & ~this.#ready;
    this.#ready |= sleepers;
    this.woken |= sleepers;
  }

  /** A turn of the environment. */
  #act(actor: number): void {
    const bit = 1 << actor;
    const { act, target, milliseconds } = this.actors[actor]!.body as Environment;
    this.#ready &= ~bit;
    this.live &= ~bit;
    this.door.actor = actor;
    if (act === "pass") {
      this.door.nowMs += milliseconds!;
      this.#lookAround();
    } else if (act === "kill") {
      const liveness = this.#stage.kill(target);
      this.races?.ended(target, liveness);
      this.live &= ~(1 << target);
      this.#ready &= ~(1 << target);
      this.#polling &= ~(1 << target);
      this.#asleep &= ~(1 << target);
      // Everyone who waits looks for dead threads after a while.
      const sleepers = (this.#asleep | this.#polling) & ~this.#ready;
      this.#ready |= sleepers;
      this.#lookAgain = this.live;
      this.#mustReap = this.live;
      this.woken |= sleepers;
    } else {
      this.#stage.abort(target);
      if (this.#asleep & ~this.#ready & (1 << target)) {
        this.#ready |= 1 << target;
        this.woken |= 1 << target;
      }
    }
    if (this.observer !== null) this.observer.turnEnded();
  }

  /** The failure of a schedule that has ended while somebody sleeps. */
  #stillAsleep(): Failure | null {
    const sleepers = this.live & ~this.environment;
    if (sleepers === 0) return null;
    const told: string[] = [];
    let lost = -1;
    let first = -1;
    for (let actor = 0; actor < this.count; actor++) {
      if (!(sleepers & (1 << actor))) continue;
      if (first < 0) first = actor;
      const wait = this.#waits[actor]!;
      const what = "poll" in wait ? "a short lock or an epoch" : this.whatOf(wait);
      told.push(`${this.actors[actor]!.name} waits for ${what}`);
      if (this.door.words[wait.word] !== wait.expected) lost = actor;
    }
    const message = `${told.join("; ")}: nobody is left to wake ${told.length > 1 ? "them" : "it"}`;
    if (lost < 0) return { kind: "deadlock", message, actor: first };
    return { kind: "lost wake-up", message, actor: lost };
  }

  /** What a wait is for, in words. */
  whatOf(wait: CoreWait): string {
    const told = wait.what();
    if (typeof told === "string") return told;
    const alone = this.door.alone;
    this.door.alone = true;
    let step = (told as Generator<unknown, string>).next();
    while (!step.done) step = (told as Generator<unknown, string>).next();
    this.door.alone = alone;
    return step.value;
  }
}

export class EndlessSchedule extends Error {
  constructor(steps: number) {
    super(`${steps} turns, the last of them fair to all, have not ended: no progress is made`);
  }
}
