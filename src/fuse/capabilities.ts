/**
 * Whether a file may have capabilities, which a change of its content takes away: it would have to be looked at before
 * each write.
 *
 * A word of the inode's record: changes of capabilities, counted, times two, and 1 where there were found to be none since
 * the last one. Whoever has looked says so only if none was changed since he began.
 */
import { cas, load, type Words } from "../sync/atomics.ts";
import { type InodeReference, Own } from "../volume/inode-reference.ts";

/** What is known now: for `isWithout`, and for `noteWithout` by who looks afterwards. */
export function knownOfCapabilities(words: Words, { mapping }: InodeReference): number {
  return load(words, mapping + Own.capabilities);
}

export function isWithout(known: number): boolean {
  return (known & 1) !== 0;
}

/** The file has none. `known`: from before it was looked at. */
export function noteWithout(words: Words, { mapping }: InodeReference, known: number): void {
  cas(words, mapping + Own.capabilities, known, known | 1);
}

/** Somebody may set some: to be called before and after. */
export function noteCapabilitiesChange(words: Words, { mapping }: InodeReference): void {
  const word = mapping + Own.capabilities;
  for (let known = load(words, word); ; known = load(words, word)) {
    if (cas(words, word, known, ((known | 1) + 1) | 0)) return;
  }
}
