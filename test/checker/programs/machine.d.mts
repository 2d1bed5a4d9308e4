/** One operation of an actor. What it reads, the actor keeps: `seen`. */
export type Operation =
  | { readonly kind: "load" | "storeSeen" | "wake"; readonly word: number }
  | {
      readonly kind: "store" | "storeOwn" | "add" | "exchange";
      readonly word: number;
      readonly value: number;
    }
  | {
      readonly kind: "cas";
      readonly word: number;
      readonly expected: number;
      readonly value: number;
    }
  /** Sleeps on the word while it holds a value: once, or for as long as it does. */
  | {
      readonly kind: "wait" | "waitUntil" | "poll";
      readonly word: number;
      readonly expected: number;
    }
  /** Two accesses between which the actor cannot die. */
  | { readonly kind: "addThenStore"; readonly word: number; readonly note: number }
  | {
      readonly kind: "casThenStore";
      readonly word: number;
      readonly expected: number;
      readonly note: number;
    }
  /** Leaves out the next operation if the value read last is this one. */
  | { readonly kind: "skipIf"; readonly value: number };

/** The word that tells of a dead actor: 1 from its end, 2 while it is reaped, then 0. */
export const DEAD: number;
/** What the reaper leaves in word 0. */
export const REAPED: number;
/** Among the values seen: a wait that was aborted. */
export const ABORTED: number;

export function act(
  words: Int32Array,
  operations: readonly Operation[],
  seen: number[],
): Generator<unknown, void>;

export function reap(words: Int32Array): Generator<unknown, void>;
