// Words that the threads of a fault test share.

export const Control = {
  ready: 0,
  stop: 1,
  /** Stops the pager, when nobody else can fault any more. */
  stopPager: 9,
  /** Which generation of a page to show: see pager.mjs. */
  generation: 2,
  /** The generation that every earlier mapping has been revoked for. */
  settled: 3,
  faults: 4,
  guardedFaults: 5,
  messages: 6,
  touches: 7,
  wrong: 8,
};

/** Generations repeat after this many; each has a page of the device of its own. */
export const GENERATIONS = 1000;
