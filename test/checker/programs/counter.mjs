// A scenario of one's own, as in docs/checker.md: two threads count with a load and a store.
import { ensure, scenario } from "holdfast/check";
import { regionWithThreads } from "holdfast/check/core";
import { add, load, store } from "holdfast/sync";

/** @typedef {import("holdfast/sync").Region} Region */
/** @typedef {{ words: Int32Array, counter: number }} Local */

/** @param {(words: Int32Array, word: number) => void} count */
function counting(count) {
  return scenario({
    name: "counter",
    about: "Two threads count to two.",
    from: "docs/checker.md",
    build() {
      const { region } = regionWithThreads(2);
      return { region, counter: region.allocatePages(1) };
    },
    region: (shared) => shared.region,
    begin: ({ region, counter }) => ({ words: region.words, counter }),
    actors: {
      first: ({ words, counter }) => count(words, counter),
      second: ({ words, counter }) => count(words, counter),
    },
    end: ({ words, counter }) => {
      const total = load(words, counter);
      ensure(total === 2, `two threads have counted to ${total}`);
    },
    watch: { counter: ({ words, counter }) => load(words, counter) },
  });
}

export const torn = counting((words, word) => store(words, word, load(words, word) + 1));
export const whole = counting((words, word) => {
  add(words, word, 1);
});
