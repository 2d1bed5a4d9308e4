/** Why a mutant may live: it is the same program in other words, or differs in what nobody promises. */

export interface Explanation {
  /** For example "pin/pin.ts". */
  readonly file: string;
  readonly function: string;
  /** Texts that the mutants' `what` hold; left out: all of the function. */
  readonly what?: readonly string[];
  readonly why: string;
}
