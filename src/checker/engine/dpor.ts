/**
 * Exhaustive exploration with dynamic partial-order reduction (Flanagan and Godefroid, POPL 2005) and
 * sleep sets (Godefroid 1996): of all schedules that differ only in the order of turns that commute,
 * one is run. What no schedule explored can reach, no schedule can.
 *
 * Per turn: who, what it accessed, a vector clock of the turns that happened before it. When a turn
 * conflicts with an earlier one that did not happen before it, the two could come the other way round:
 * the other actor is noted to be tried at the state before the earlier turn.
 *
 * Turns that commute: of different actors, at different words, or two reads, or a wake with anything
 * but a wait (door.ts, `conflicts`). The end of an actor commutes with nothing of that actor.
 */
import { Access, ACTORS_MAX, conflicts } from "./door.ts";
import type { Outcome, Run, Strategy } from "./run.ts";

const N = ACTORS_MAX;
/** Accesses that conflict with the same ones: read, write, wait, wake. */
const GROUPS = 4;
const GROUP_OF = [0, 1, 1, 3, 0, 1, 2] as const;
/** Per group, those it conflicts with. */
const AGAINST = [[1], [0, 1, 2], [1, 3], [2]] as const;

/** Turns that may belong to a schedule at first; grows. */
const DEPTH_FIRST = 4096;

export class Reduced implements Strategy {
  #run!: Run;
  /** Turns decided before the schedule began. */
  #replay = 0;
  #depth = 0;
  #size = DEPTH_FIRST;
  #chosen = new Uint8Array(DEPTH_FIRST);
  #enabled = new Uint8Array(DEPTH_FIRST);
  #backtrack = new Uint8Array(DEPTH_FIRST);
  #done = new Uint8Array(DEPTH_FIRST);
  #sleep = new Uint8Array(DEPTH_FIRST);
  /** What each actor stood before, per state. */
  #word = new Int32Array(DEPTH_FIRST * N);
  #access = new Uint8Array(DEPTH_FIRST * N);
  /** Per turn, the last turn of each actor that happened before it. */
  #clock = new Int32Array(DEPTH_FIRST * N);
  /** Each actor's clock after its last turn, with what woke it. */
  readonly #now = new Int32Array(N * N);
  readonly #lastTurn = new Int32Array(N);
  /** Last turn per contended word, group of accesses and actor. */
  #last = new Int32Array(0);
  /** What `now`, `lastTurn` and `last` held, to go back to a state; and where each turn's part begins. */
  #undoAt = new Int32Array(DEPTH_FIRST * 8);
  #undoValue = new Int32Array(DEPTH_FIRST * 8);
  #undoCount = 0;
  #undoMark = new Int32Array(DEPTH_FIRST);

  begin(run: Run): void {
    this.#run = run;
    this.#depth = 0;
    if (this.#replay > 0) {
      this.#goBack(this.#undoMark[this.#replay - 1]!);
      return;
    }
    this.#now.fill(-1);
    this.#lastTurn.fill(-1);
    this.#last = new Int32Array((run.door.contendedCount + 64) * GROUPS * N).fill(-1);
    this.#undoCount = 0;
  }

  choose(enabled: number, current: number): number {
    const depth = this.#depth++;
    if (depth < this.#replay - 1) {
      this.#run.woken = 0;
      return this.#chosen[depth]!;
    }
    if (depth === this.#size) this.#grow();
    this.#undoMark[depth] = this.#undoCount;
    if (this.#run.woken !== 0) this.#joinWoken(depth - 1);
    if (depth < this.#replay) {
      const actor = this.#chosen[depth]!;
      this.#follow(depth, actor);
      return actor;
    }
    const sleep = depth === 0 ? 0 : this.#sleepAfter(depth - 1);
    const awake = enabled & ~sleep;
    if (awake === 0) {
      this.#depth--;
      return -1;
    }
    const actor =
      current >= 0 && awake & (1 << current) ? current : 31 - Math.clz32(awake & -awake);
    this.#enabled[depth] = enabled;
    this.#sleep[depth] = sleep;
    this.#done[depth] = 0;
    this.#backtrack[depth] = 1 << actor;
    this.#chosen[depth] = actor;
    const { pendingWord, pendingAccess, count } = this.#run;
    for (let other = 0; other < count; other++) {
      this.#word[depth * N + other] = pendingWord[other]!;
      this.#access[depth * N + other] = pendingAccess[other]!;
    }
    if (this.#run.environment !== 0) this.#actBefore(depth, actor, enabled);
    this.#follow(depth, actor);
    return actor;
  }

  /** What the environment can do to an actor is tried before each of its turns, else it never acts. */
  #actBefore(depth: number, actor: number, enabled: number): void {
    const { environment, pendingWord, count } = this.#run;
    for (let other = 0; other < count; other++) {
      const acts = environment & enabled & (1 << other) && pendingWord[other] === actor;
      if (acts) this.#backtrack[depth]! |= 1 << other;
    }
  }

  end(_outcome: Outcome): boolean {
    for (let depth = this.#depth - 1; depth >= 0; depth--) {
      const done = this.#done[depth]! | (1 << this.#chosen[depth]!);
      this.#done[depth] = done;
      const rest = this.#backtrack[depth]! & ~done & ~this.#sleep[depth]!;
      if (rest === 0) continue;
      this.#chosen[depth] = 31 - Math.clz32(rest & -rest);
      this.#replay = depth + 1;
      return true;
    }
    return false;
  }

  /** By the alternatives tried and left at each state of the present schedule. */
  progress(): number {
    let share = 1;
    let explored = 0;
    for (let depth = 0; depth < this.#replay; depth++) {
      const done = bitCount(this.#done[depth]!);
      const all = Math.max(
        done + 1,
        bitCount((this.#backtrack[depth]! | this.#done[depth]!) & 0xff),
      );
      explored += (share * done) / all;
      share /= all;
    }
    return explored;
  }

  /** Who was woken in turn `depth` comes after it. */
  #joinWoken(depth: number): void {
    const woken = this.#run.woken;
    this.#run.woken = 0;
    if (depth < 0) return;
    for (let actor = 0; actor < this.#run.count; actor++) {
      if (woken & (1 << actor)) this.#join(actor, depth);
    }
  }

  /** The actor's clock takes in turn `turn` and all before it. */
  #join(actor: number, turn: number): void {
    const { count } = this.#run;
    for (let other = 0; other < count; other++) {
      const theirs = this.#clock[turn * N + other]!;
      const at = actor * N + other;
      if (theirs > this.#now[at]!) this.#setNow(at, theirs);
    }
  }

  #setNow(at: number, value: number): void {
    this.#note(at, this.#now[at]!);
    this.#now[at] = value;
  }

  /** Notes what a place held: `now` comes first, then `lastTurn`, then `last`. */
  #note(place: number, value: number): void {
    const at = this.#undoCount++;
    if (at === this.#undoAt.length) {
      this.#undoAt = larger(this.#undoAt);
      this.#undoValue = larger(this.#undoValue);
    }
    this.#undoAt[at] = place;
    this.#undoValue[at] = value;
  }

  #goBack(mark: number): void {
    for (let at = this.#undoCount - 1; at >= mark; at--) {
      const place = this.#undoAt[at]!;
      const value = this.#undoValue[at]!;
      if (place < N * N) this.#now[place] = value;
      else if (place < N * N + N) this.#lastTurn[place - N * N] = value;
      else this.#last[place - N * N - N] = value;
    }
    this.#undoCount = mark;
  }

  /** Actors that sleep after the turn at `depth`: what they would do was done, and commutes with it. */
  #sleepAfter(depth: number): number {
    const actor = this.#chosen[depth]!;
    const asleep = (this.#sleep[depth]! | this.#done[depth]!) & ~(1 << actor);
    if (asleep === 0) return 0;
    let still = 0;
    for (let other = 0; other < this.#run.count; other++) {
      if (asleep & (1 << other) && this.#commute(depth, actor, other)) still |= 1 << other;
    }
    return still;
  }

  #commute(depth: number, actor: number, other: number): boolean {
    const a = this.#access[depth * N + actor]!;
    const b = this.#access[depth * N + other]!;
    const wordA = this.#word[depth * N + actor]!;
    const wordB = this.#word[depth * N + other]!;
    if (a >= Access.kill || b >= Access.kill) {
      const touchesA = a >= Access.kill ? wordA : -1;
      const touchesB = b >= Access.kill ? wordB : -1;
      if (a === Access.kill || b === Access.kill) return false;
      return touchesA !== other && touchesB !== actor && touchesA !== touchesB;
    }
    return wordA !== wordB || !conflicts(a, b);
  }

  /** Works the turn at `depth` into the clocks, and looks for turns it could come before. */
  #follow(depth: number, actor: number): void {
    const access = this.#access[depth * N + actor]!;
    const word = this.#word[depth * N + actor]!;
    if (access >= Access.kill) this.#followEnvironment(depth, actor, access, word);
    else this.#followAccess(depth, actor, access, word);
    this.#setNow(actor * N + actor, depth);
    const { count } = this.#run;
    for (let other = 0; other < count; other++) {
      this.#clock[depth * N + other] = this.#now[actor * N + other]!;
    }
    this.#note(N * N + actor, this.#lastTurn[actor]!);
    this.#lastTurn[actor] = depth;
  }

  #followAccess(depth: number, actor: number, access: number, word: number): void {
    const { count, environment, door } = this.#run;
    const row = door.contended[word]! * GROUPS * N;
    const last = this.#last;
    const group = GROUP_OF[access]!;
    for (const against of AGAINST[group]!) {
      for (let other = 0; other < count; other++) {
        if (other === actor) continue;
        const earlier = last[row + against * N + other]!;
        if (earlier >= 0) this.#race(earlier, other, depth, actor);
      }
    }
    if (environment !== 0) {
      for (let other = 0; other < count; other++) {
        if (environment & (1 << other)) this.#race(this.#lastTurn[other]!, other, depth, actor);
      }
    }
    const place = row + group * N + actor;
    this.#note(N * N + N + place, last[place]!);
    last[place] = depth;
  }

  /** The end of an actor is ordered with all turns (what it held is found by everybody). */
  #followEnvironment(depth: number, actor: number, access: number, target: number): void {
    const { count } = this.#run;
    for (let other = 0; other < count; other++) {
      if (other === actor || (access === Access.abort && other !== target)) continue;
      this.#race(this.#lastTurn[other]!, other, depth, actor);
    }
    this.#backtrack[depth]! |= this.#enabled[depth]!;
  }

  /** Turn `earlier` of `other` conflicts with the one of `actor` at `depth`. */
  #race(earlier: number, other: number, depth: number, actor: number): void {
    if (earlier < 0 || earlier <= this.#now[actor * N + other]!) return;
    this.#tryBefore(earlier, depth, actor);
    this.#join(actor, earlier);
  }

  /** Notes that `actor`, or one whose turns lead to it, is to be tried where turn `earlier` was. */
  #tryBefore(earlier: number, depth: number, actor: number): void {
    const enabled = this.#enabled[earlier]!;
    if (enabled & (1 << actor)) {
      this.#backtrack[earlier]! |= 1 << actor;
      return;
    }
    let first = -1;
    let firstTurn = depth;
    for (let other = 0; other < this.#run.count; other++) {
      if (!(enabled & (1 << other))) continue;
      if (this.#now[actor * N + other]! <= earlier) continue;
      if (this.#backtrack[earlier]! & (1 << other)) return;
      const turn = this.#now[actor * N + other]!;
      if (turn < firstTurn) {
        first = other;
        firstTurn = turn;
      }
    }
    this.#backtrack[earlier]! |= first >= 0 ? 1 << first : enabled;
  }

  #grow(): void {
    this.#size *= 2;
    this.#chosen = largerBytes(this.#chosen);
    this.#enabled = largerBytes(this.#enabled);
    this.#backtrack = largerBytes(this.#backtrack);
    this.#done = largerBytes(this.#done);
    this.#sleep = largerBytes(this.#sleep);
    this.#access = largerBytes(this.#access);
    this.#word = larger(this.#word);
    this.#clock = larger(this.#clock);
    this.#undoMark = larger(this.#undoMark);
  }
}

function larger(old: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const copy = new Int32Array(old.length * 2);
  copy.set(old);
  return copy;
}

function largerBytes(old: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  const copy = new Uint8Array(old.length * 2);
  copy.set(old);
  return copy;
}

function bitCount(bits: number): number {
  let count = 0;
  for (; bits !== 0; bits &= bits - 1) count++;
  return count;
}
