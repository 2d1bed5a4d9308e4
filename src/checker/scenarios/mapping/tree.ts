/** The tree of entries, by one thread: levels, marks, sizes and removal, beside a plain map. */
import { HUGE_PAGES } from "../../../base/quantities.ts";
import { PAGE_INDEX_MAX } from "../../../mapping/mapping.ts";
import { HUGE_LEVEL, Mark } from "../../../mapping/tree.ts";
import { treeStory } from "../../world/tree.ts";

/** Pages a node of each level covers. */
const [LEAF, INNER] = [64, 64 ** 2];

export const treeLevels = treeStory({
  name: "tree-levels",
  about:
    "A file grows from its first page to the last one that a file can have. Every entry is found, with " +
    "its marks, from however high a root; nothing is found beside it.",
  from: "mapping/tree.ts, makeSlot; xas_expand",
  play(tree) {
    tree.ensureFound(0);
    tree.ensureWalk(0, PAGE_INDEX_MAX);
    tree.ensureMarked(Mark.dirty, 0, PAGE_INDEX_MAX);
    tree.remove(0, PAGE_INDEX_MAX);
    tree.put(0, 40);
    tree.ensureNodes(1);
    tree.mark(0, Mark.dirty);
    tree.mark(40, Mark.pinned);
    tree.ensureSame();
    // A root at each level, and two levels at once.
    for (const [index, nodes] of [
      [LEAF, 3],
      [INNER * 2 + 5, 6],
      [64 ** 4 * 3, 12],
      [64 ** 5, 18],
    ] as const) {
      tree.put(index);
      tree.ensureNodes(nodes);
      tree.ensureSame();
    }
    tree.put(PAGE_INDEX_MAX);
    tree.mark(PAGE_INDEX_MAX, Mark.dirty);
    tree.ensureSame();
    tree.unmark(0, Mark.dirty);
    tree.unmark(40, Mark.pinned);
    tree.unmark(PAGE_INDEX_MAX, Mark.dirty);
    tree.ensureNoneMarked(Mark.dirty);
    tree.ensureNoneMarked(Mark.pinned);
    tree.ensureSame();
  },
});

export const treeMarks = treeStory({
  name: "tree-marks",
  about:
    "Entries are marked and unmarked in both halves of nodes and in several of them. A search finds the " +
    "marked ones from wherever it starts, and none when none is left; and no word beside the tree changes.",
  from: "mapping/tree.ts, rule 3; xas_find_marked",
  play(tree) {
    const marked = [0, 31, 32, 63, LEAF + 40, INNER + LEAF * 33 + 1];
    for (const index of marked) tree.put(index, index + 2);
    tree.markNothing(5, Mark.pinned);
    tree.markNothing(LEAF * 5, Mark.pinned);
    tree.ensureNoneMarked(Mark.pinned);
    for (const index of marked) tree.mark(index, Mark.pinned);
    tree.mark(2, Mark.dirty);
    tree.ensureSame();
    for (const from of [1, 32, 33, LEAF, LEAF + 41, INNER]) {
      tree.ensureMarked(Mark.pinned, from, PAGE_INDEX_MAX);
    }
    tree.ensureMarked(Mark.pinned, 1, 40);
    tree.ensureMarked(Mark.pinned, 33, LEAF + 39);
    for (const index of [32, 31, 0, LEAF + 40, 63]) {
      tree.unmark(index, Mark.pinned);
      tree.ensureSame();
    }
    tree.unmarkTraced(Mark.pinned, INNER + LEAF * 33 + 1);
    tree.ensureNoneMarked(Mark.pinned);
    tree.ensureMarked(Mark.dirty, 0, PAGE_INDEX_MAX);
  },
});

export const treeSizes = treeStory({
  name: "tree-sizes",
  about:
    "Entries of 2 MiB and of 4 KiB lie side by side, none over another. One of 2 MiB is one for each of " +
    "its pages: found, marked, walked over and removed at once.",
  from: "mapping/tree.ts; multi-index entries of an XArray",
  play(tree) {
    tree.putHuge(HUGE_PAGES);
    tree.put(HUGE_PAGES - 1, 2 * HUGE_PAGES + 200);
    tree.putHuge(3 * HUGE_PAGES);
    tree.refuses(HUGE_PAGES + 100, 0);
    tree.refuses(2 * HUGE_PAGES, HUGE_LEVEL);
    tree.mark(3 * HUGE_PAGES + 511, Mark.dirty);
    tree.mark(HUGE_PAGES + 70, Mark.pinned);
    tree.mark(2 * HUGE_PAGES + 200, Mark.pinned);
    tree.ensureSame();
    for (const index of [HUGE_PAGES + 64, HUGE_PAGES + 300, 3 * HUGE_PAGES + 64]) {
      tree.ensureFound(index);
      tree.ensureWalk(index, index + HUGE_PAGES);
      tree.ensureMarked(Mark.pinned, index, PAGE_INDEX_MAX);
      tree.ensureMarked(Mark.dirty, index, index + 1);
    }
    tree.unmark(HUGE_PAGES + 200, Mark.pinned);
    tree.unmark(2 * HUGE_PAGES + 200, Mark.pinned);
    tree.ensureNoneMarked(Mark.pinned);
    tree.remove(HUGE_PAGES, 3 * HUGE_PAGES - 1);
    tree.ensureSame();
    tree.put(HUGE_PAGES + 100);
    tree.mark(HUGE_PAGES - 1, Mark.dirty);
    tree.remove(3 * HUGE_PAGES, 4 * HUGE_PAGES - 1);
    tree.ensureSame();
    tree.unmark(HUGE_PAGES - 1, Mark.dirty);
    tree.ensureNoneMarked(Mark.dirty);
  },
});

export const treeRemoval = treeStory({
  name: "tree-removal",
  about:
    "Ranges are removed that cut nodes, and such that hold whole ones. What is outside stays, with its " +
    "marks; nodes wholly inside are free, and no mark leads to them.",
  from: "DESIGN.md 5.4: it keeps dirty marks outside the range",
  play(tree) {
    const kept = [0, LEAF + 40, INNER + 3];
    const gone = [5, 40, LEAF + 1, LEAF * 2 + 1, LEAF * 3 + 7, INNER + 4];
    tree.put(...kept, ...gone);
    for (const index of [...kept, ...gone]) tree.mark(index, Mark.dirty);
    for (const index of gone) tree.mark(index, Mark.pinned);
    tree.ensureNodes(8);
    tree.ensureSame();
    tree.remove(5, LEAF - 1);
    tree.ensureNodes(8);
    tree.ensureSame();
    tree.remove(LEAF, LEAF + 1);
    tree.ensureSame();
    tree.remove(LEAF * 2, LEAF * 3 + 7);
    tree.ensureNodes(7);
    // Whoever went on from a slot without a node would come to words of the slab that are odd now.
    tree.ensureFound(INNER * 5 + LEAF * 3 + 2);
    tree.ensureSame();
    tree.remove(LEAF * 3 + 1, LEAF * 4 - 1);
    tree.ensureNodes(7);
    tree.remove(INNER + 4, INNER * 2);
    tree.ensureSame();
    tree.ensureNoneMarked(Mark.pinned);
    tree.remove(INNER, PAGE_INDEX_MAX);
    tree.ensureSame();
    tree.remove(1, PAGE_INDEX_MAX);
    tree.ensureSame();
    tree.put(LEAF * 2 + 1, INNER + 4);
    tree.ensureSame();
    tree.remove(0, INNER);
    tree.ensureSame();
  },
});

export const treeZeroes = treeStory({
  name: "tree-zeroes",
  about:
    "Zero entries are dropped from a range, others stay. A mark that is left of one costs a look, no more.",
  from: "mapping/tree.ts, rule 3; DESIGN.md 5.2, holes",
  play(tree) {
    tree.put(1, LEAF + 1);
    for (const index of [0, 2, 9, LEAF + 2, LEAF * 3]) tree.putZero(index);
    tree.mark(LEAF * 3, Mark.dirty);
    tree.dropZeroes(1, LEAF + 1);
    tree.ensureSame();
    tree.dropZeroes(LEAF + 2, PAGE_INDEX_MAX);
    tree.ensureSame();
    tree.remove(LEAF, INNER - 1);
    tree.ensureSame();
    tree.put(LEAF * 3 + 1);
    tree.ensureSame();
  },
});
