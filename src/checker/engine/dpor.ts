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
 * but a wait (door.ts, `conflicts`). The end of an actor commutes with nothing, nor does time.
 */
import { bitCount, doubled, lowest } from "./bits.ts";
import { Access, ACTORS_MAX, CONFLICTING, conflicts, GROUP_OF, GROUPS } from "./door.ts";
import type { Outcome, Run, Strategy } from "./run.ts";
import { BEGINNING_TURNS, type Beginnings } from "./shares.ts";
import { States } from "./states.ts";

const N = ACTORS_MAX;

/** Whether an act of the environment matters to everybody. */
const isForAll = (access: number): boolean => access === Access.kill || access === Access.pass;

/** Turns that may belong to a schedule at first; grows. */
const DEPTH_FIRST = 4096;

export class Reduced implements Strategy {
  readonly #beginnings: Beginnings | null;
  readonly keepsStates: boolean;
  #states: States | null = null;
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
  /** Turns that the present one races with. */
  readonly #rivals = new Int32Array(N * GROUPS);
  #rivalCount = 0;
  /** Last turn per contended word, group of accesses and actor. */
  #last = new Int32Array(0);
  /** What `now`, `lastTurn` and `last` held, to go back to a state; and where each turn's part begins. */
  #undoAt = new Int32Array(DEPTH_FIRST * 8);
  #undoValue = new Int32Array(DEPTH_FIRST * 8);
  #undoCount = 0;
  #undoMark = new Int32Array(DEPTH_FIRST);

  /** `beginnings`: of an exploration that is shared; `keepsStates`: explores what follows from one once. */
  constructor(beginnings: Beginnings | null = null, keepsStates = false) {
    this.#beginnings = beginnings;
    this.keepsStates = keepsStates;
  }

  begin(run: Run): void {
    this.#beginnings?.begin(this.#replay);
    this.#run = run;
    this.#depth = Math.max(0, this.#replay - 1);
    if (this.#replay > 0) {
      this.#goBack(this.#undoMark[this.#replay - 1]!);
      return;
    }
    this.#now.fill(-1);
    this.#lastTurn.fill(-1);
    this.#last = new Int32Array((run.door.contendedCount + 64) * GROUPS * N).fill(-1);
    this.#undoCount = 0;
    // What the environment does conflicts with all, and is not among the accesses that a state keeps.
    const keepsStates = this.keepsStates && run.environment === 0;
    this.#states = keepsStates ? new States(run.door, run.count) : null;
  }

  readonly stays = true;

  plan(turns: Uint8Array): number {
    // All but the last are as they were.
    if (this.#replay > 0) turns[this.#replay - 1] = this.#chosen[this.#replay - 1]!;
    return this.#replay;
  }

  choose(enabled: number, current: number): number {
    const depth = this.#depth++;
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
    const isElsewhere =
      depth === BEGINNING_TURNS && this.#beginnings !== null && !this.#beginnings.isMine();
    if (awake === 0 || isElsewhere || this.#isExplored(depth, enabled, sleep)) {
      this.#depth--;
      return -1;
    }
    const actor = current >= 0 && awake & (1 << current) ? current : lowest(awake);
    this.#enabled[depth] = enabled;
    this.#sleep[depth] = sleep;
    this.#done[depth] = 0;
    // In a beginning everything is tried: what others find must be nothing new to this thread.
    const isShared = this.#beginnings !== null && depth < BEGINNING_TURNS;
    this.#backtrack[depth] = isShared ? awake : 1 << actor;
    this.#chosen[depth] = actor;
    const { pendingWord, pendingAccess, count } = this.#run;
    for (let other = 0; other < count; other++) {
      this.#word[depth * N + other] = pendingWord[other]!;
      this.#access[depth * N + other] = pendingAccess[other]!;
    }
    this.#follow(depth, actor);
    return actor;
  }

  end(_outcome: Outcome): boolean {
    for (let depth = this.#depth - 1; depth >= 0; depth--) {
      const actor = this.#chosen[depth]!;
      const done = this.#done[depth]! | (1 << actor);
      this.#done[depth] = done;
      const at = depth * N + actor;
      this.#states?.tried(depth, actor, this.#access[at]!, this.#word[at]!);
      const rest = this.#backtrack[depth]! & ~done & ~this.#sleep[depth]!;
      if (rest === 0) {
        this.#states?.explored(depth, this.#sleep[depth]!);
        continue;
      }
      this.#chosen[depth] = lowest(rest);
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
    const { count, environment } = this.#run;
    for (let actor = 0; actor < count; actor++) {
      if (woken & (1 << actor)) this.#join(actor, depth);
    }
    // An abort can take the place of a wake-up.
    const idle = environment & this.#enabled[depth]! & ~(1 << this.#chosen[depth]!);
    for (let other = 0; idle !== 0 && other < count; other++) {
      const target = this.#word[depth * N + other]!;
      if (idle & (1 << other) && woken & (1 << target)) this.#backtrack[depth]! |= 1 << other;
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
      this.#undoAt = doubled(this.#undoAt);
      this.#undoValue = doubled(this.#undoValue);
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
      if (isForAll(a) || isForAll(b)) return false;
      return touchesA !== other && touchesB !== actor && touchesA !== touchesB;
    }
    return wordA !== wordB || !conflicts(a, b);
  }

  /** Works the turn at `depth` into the clocks, and looks for turns it could come before. */
  #follow(depth: number, actor: number): void {
    const access = this.#access[depth * N + actor]!;
    const word = this.#word[depth * N + actor]!;
    const { count, environment } = this.#run;
    this.#rivalCount = 0;
    if (access >= Access.kill) this.#followEnvironment(actor, access, word);
    else this.#followAccess(depth, actor, access, word);
    if (environment !== 0) this.#tryEnvironment(depth, actor);
    for (let at = 0; at < this.#rivalCount; at++) this.#join(actor, this.#rivals[at]!);
    this.#setNow(actor * N + actor, depth);
    for (let other = 0; other < count; other++) {
      this.#clock[depth * N + other] = this.#now[actor * N + other]!;
    }
    for (let at = 0; at < this.#rivalCount; at++) this.#tryBefore(this.#rivals[at]!, depth);
    this.#note(N * N + actor, this.#lastTurn[actor]!);
    this.#lastTurn[actor] = depth;
  }

  #followAccess(depth: number, actor: number, access: number, word: number): void {
    const { count, environment, door } = this.#run;
    const row = door.contended[word]! * GROUPS * N;
    const last = this.#last;
    const group = GROUP_OF[access]!;
    // What is not contended conflicts with nothing.
    for (const against of row === 0 ? [] : CONFLICTING[group]!) {
      for (let other = 0; other < count; other++) {
        if (other === actor) continue;
        this.#race(last[row + against * N + other]!, other, actor);
      }
    }
    for (let other = 0; environment !== 0 && other < count; other++) {
      const turn = this.#lastTurn[other]!;
      if (!(environment & (1 << other)) || turn < 0) continue;
      const aborts = this.#access[turn * N + other] === Access.abort;
      if (!aborts || this.#word[turn * N + other] === actor) this.#race(turn, other, actor);
    }
    if (row === 0) return;
    const place = row + group * N + actor;
    this.#note(N * N + N + place, last[place]!);
    last[place] = depth;
  }

  /** The end of an actor, and time, are ordered with all turns: everybody can find out. */
  #followEnvironment(actor: number, access: number, target: number): void {
    const { count, environment } = this.#run;
    for (let other = 0; other < count; other++) {
      if (other === actor) continue;
      if (access === Access.abort && other !== target && !(environment & (1 << other))) continue;
      this.#race(this.#lastTurn[other]!, other, actor);
    }
  }

  /**
   * What the environment may do is to be tried before every turn that it does not commute with: it
   * need not come to it later, as its target may have ended by then.
   */
  #tryEnvironment(depth: number, actor: number): void {
    const { environment, count } = this.#run;
    const idle = environment & this.#enabled[depth]! & ~(1 << actor);
    for (let other = 0; other < count; other++) {
      if (idle & (1 << other) && !this.#commute(depth, actor, other)) {
        this.#backtrack[depth]! |= 1 << other;
      }
    }
  }

  /** Notes turn `earlier` of `other`, if it conflicts with the one of `actor` and nothing orders them. */
  #race(earlier: number, other: number, actor: number): void {
    if (earlier < 0 || earlier <= this.#now[actor * N + other]!) return;
    this.#rivals[this.#rivalCount++] = earlier;
  }

  /** Whether turn `a` happened before the later turn `b`. */
  #isBefore(a: number, b: number): boolean {
    return this.#clock[b * N + this.#chosen[a]!]! >= a;
  }

  /**
   * Notes that the turn at `depth` is to be tried before turn `earlier`. Then first come the turns
   * since that `earlier` did not lead to, and any of them that needs none of the others can be the
   * first: one such actor is noted, unless one is already (Abdulla and others, POPL 2014, "source
   * sets").
   */
  #tryBefore(earlier: number, depth: number): void {
    for (let at = 0; at < this.#rivalCount; at++) {
      const rival = this.#rivals[at]!;
      // Not next to each other: the race with the turn between them comes first.
      if (rival > earlier && this.#isBefore(earlier, rival)) return;
    }
    let seen = 0;
    let first = 0;
    for (let turn = earlier + 1; turn <= depth; turn++) {
      if (turn < depth && this.#isBefore(earlier, turn)) continue;
      const actor = 1 << this.#chosen[turn]!;
      let needs = (seen & actor) !== 0;
      for (let before = earlier + 1; before < turn && !needs; before++) {
        needs = !this.#isBefore(earlier, before) && this.#isBefore(before, turn);
      }
      seen |= actor;
      if (!needs) first |= actor;
    }
    // Nobody is killed between the halves of a composite: then `earlier` only made way.
    first &= this.#enabled[earlier]!;
    if (first & this.#backtrack[earlier]!) return;
    this.#backtrack[earlier]! |= first & -first;
  }

  /** Whether all that follows from the state before turn `depth` is explored; then its races are noted. */
  #isExplored(depth: number, enabled: number, sleep: number): boolean {
    const states = this.#states;
    if (states === null) return false;
    // Of a beginning, other threads explore some. And a sleeper for whom the word is right, for a
    // moment, is not always let go on: that is explored from where it had not slept yet.
    const isBeginning = this.#beginnings !== null && depth < BEGINNING_TURNS;
    if (isBeginning || this.#run.hasSleepers) {
      states.comeTo(depth);
      return false;
    }
    const found = states.find(depth, enabled, sleep);
    if (found === 0) return false;
    states.foundAgain(depth, found);
    for (let word = 1; word <= states.wordCount; word++) {
      const after = states.after(found, word);
      for (let rest = after; rest !== 0; rest &= rest - 1) {
        const bit = lowest(rest);
        this.#raceLater(word, bit >>> 3, bit & 7);
      }
    }
    return true;
  }

  /** As `follow`, for an access that the actor has at some later turn. */
  #raceLater(word: number, group: number, actor: number): void {
    for (const against of CONFLICTING[group]!) {
      for (let other = 0; other < this.#run.count; other++) {
        if (other === actor) continue;
        const earlier = this.#last[(word * GROUPS + against) * N + other]!;
        // Which turns lead to the access is not known: any of those that are possible may be the first.
        if (earlier > this.#now[actor * N + other]!) {
          this.#backtrack[earlier]! |= this.#enabled[earlier]!;
        }
      }
    }
  }

  #grow(): void {
    this.#size *= 2;
    this.#chosen = doubled(this.#chosen);
    this.#enabled = doubled(this.#enabled);
    this.#backtrack = doubled(this.#backtrack);
    this.#done = doubled(this.#done);
    this.#sleep = doubled(this.#sleep);
    this.#access = doubled(this.#access);
    this.#word = doubled(this.#word);
    this.#clock = doubled(this.#clock);
    this.#undoMark = doubled(this.#undoMark);
  }
}
